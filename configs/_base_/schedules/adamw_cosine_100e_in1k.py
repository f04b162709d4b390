# 100 epochs of ImageNet-1K at batch 1024 from pretrained weights. No recipe of Hiera could be read; these
# are the values of MAE (He et al., 2022) for ViT-B: AdamW, 5e-4 for each 256 images, weight decay 0.05,
# layer decay 0.65, cosine decay after 5 epochs of warm-up. It has 12 blocks. Mixed precision is our choice.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='hiera_dense.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=6255),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=6255, end=125100),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=125100, val_interval=6255)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=1024)
