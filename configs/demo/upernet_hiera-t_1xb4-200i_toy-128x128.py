# Hiera-T, UperNet on drawn shapes (hiera-dense draw-data), from random weights.
# Hardware: a CPU will do.
# Command: make demo
_base_ = [
    '../_base_/models/upernet_hiera.py', '../_base_/datasets/mask_folder.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmseg_runtime.py'
]
metainfo = dict(
    palette=[(0, 0, 0), (230, 60, 60), (60, 200, 60), (60, 90, 230), (230, 200, 50)])
crop_size = (128, 128)  # all of an image
resize = dict(type='Resize', scale=crop_size, keep_ratio=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=False), resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'), resize,
    dict(type='LoadAnnotations', reduce_zero_label=False),
    dict(type='PackSegInputs')
]
train_dataloader = dict(dataset=dict(metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = val_dataloader
# Plain BatchNorm: SyncBN needs a GPU. Narrow heads: the classes are few. 83 % of the pixels
# are background; counted in full, triangles, which have the fewest pixels, are taken for it.
head = dict(
    channels=128,
    num_classes=_base_.num_classes,
    norm_cfg=dict(type='BN', requires_grad=True),
    loss_decode=dict(class_weight=[0.2, 1.0, 1.0, 1.0, 1.0]))
model = dict(backbone=dict(arch='tiny'), decode_head=head, auxiliary_head=head)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
# Evaluated after the first iteration, for comparison, and after the last.
train_cfg = dict(val_interval=1, dynamic_intervals=[(3, 200)])
randomness = dict(seed=0)
visualizer = dict(alpha=0.5)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=200))
