# 12 epochs of COCO at batch 16, in iterations (7330 batches of images with objects). No 1x recipe of
# Hiera is published: learning rate, weight decay, warm-up and milestones (epochs 8 and 11) are mmdet's
# for Swin; no layer decay, as in the Hiera paper. Mixed precision is our choice.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        custom_keys={'pos_embed': dict(decay_mult=0.)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=87960, milestones=[58640, 80630]),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=87960, val_interval=7330)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
