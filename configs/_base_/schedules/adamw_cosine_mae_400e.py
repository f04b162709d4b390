# 400 epochs of ImageNet-1K at batch 4096. Published (Hiera paper): 400 epochs, as in its ablations. Of MAE
# (He et al., 2022): AdamW (0.9, 0.95), weight decay 0.05, cosine decay after 40 epochs of warm-up. The
# learning rate, a third of what MAE's rule gives (1.5e-4 for each 256 images), and mixed precision are
# our choice.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=8e-4, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        bias_decay_mult=0.,
        custom_keys={'pos_embed': dict(decay_mult=0.), 'mask_token': dict(decay_mult=0.)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=12500),
    dict(type='CosineAnnealingLR', eta_min=0., by_epoch=False, begin=12500, end=125000),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=125000, val_interval=12500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=4096)
