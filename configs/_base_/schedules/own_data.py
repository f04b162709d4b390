# Your own data, from pretrained weights: AdamW with layer decay, warm-up and cosine; averaged weights (EMA),
# which are validated and kept; and an end where these improve no more. Our choice. The data configs
# `own_*.py` give the length and the learning rate.
optim_wrapper = dict(
    type='OptimWrapper',  # `hiera-dense train` makes it AmpOptimWrapper where there is a GPU
    optimizer=dict(type='AdamW', betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=10.),
    constructor='hiera_dense.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.8))
warm_up = dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0)
cosine = dict(type='CosineAnnealingLR', eta_min=0., by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(type='EpochBasedTrainLoop')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# The average is over the last twentieth of the iterations so far, however many these are.
average = dict(
    type='EMAHook',
    ema_type='MomentumAnnealingEMA',
    momentum=1e-5,
    gamma=20,
    update_buffers=True,
    strict_load=True)
stop = dict(type='hiera_dense.EarlyStopping', patience=4, begin=0.3)
logger = dict(interval=10, log_metric_by_epoch=True)
checkpoint = dict(by_epoch=True, max_keep_ckpts=1)
