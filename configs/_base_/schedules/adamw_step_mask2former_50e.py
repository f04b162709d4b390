# 50 epochs of COCO at batch 16, as in the Mask2Former paper: a tenth of the learning rate for the
# backbone, no decay of norms and tables, steps after 8/9 and 26/27. In full precision, as both hosts train
# it. A key decides alone for what it matches, the longest one first.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        custom_keys={
            'backbone': dict(lr_mult=0.1, decay_mult=1.),
            'backbone.norm': dict(lr_mult=0.1, decay_mult=0.),
            'backbone.trunk.pos_embed': dict(lr_mult=0.1, decay_mult=0.),
            **{
                f'backbone.trunk.blocks.{block}.norm': dict(lr_mult=0.1, decay_mult=0.)
                for block in range(48)
            },
            'query_embed': dict(decay_mult=0.),
            'query_feat': dict(decay_mult=0.),
            'level_embed': dict(decay_mult=0.)
        }))
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=368750, milestones=[327778, 355092])
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=368750, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
