# 12 epochs of COCO at batch 16, images without objects too, as in the DINO paper: a tenth of the
# learning rate for the backbone, a step before the last epoch. In full precision, as mmdet trains it. No
# decay of position tables is our choice.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    paramwise_cfg=dict(
        custom_keys={
            'backbone': dict(lr_mult=0.1),
            'backbone.trunk.pos_embed': dict(lr_mult=0.1, decay_mult=0.)
        }))
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=88716, milestones=[81323])
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=88716, val_interval=7393)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
