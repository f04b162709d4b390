# 100 epochs of COCO at batch 64. Published (Hiera paper, table 15): AdamW (0.9, 0.999), weight decay
# 0.1, step decay, no layer-wise decay. Not published: warm-up and milestones; these are of the ViTDet
# schedule that the paper follows, as is no weight decay on norms and position tables. Mixed precision is
# our choice. The learning rate depends on the arch and stands in the leaf.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', betas=(0.9, 0.999), weight_decay=0.1),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        custom_keys={
            'pos_embed': dict(decay_mult=0.),
            'rel_pos': dict(decay_mult=0.)
        }))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=184375, milestones=[163889, 177546]),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=184375, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=64)
