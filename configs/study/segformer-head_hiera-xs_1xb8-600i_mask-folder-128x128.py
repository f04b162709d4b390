# A small Hiera and SegFormer's head on a folder of images and index masks, from random weights: trained on
# crops of 128 px, to be evaluated at other sizes (docs/position-embeddings.md).
# Hardware: a CPU will do.
# Command: python -m tools.bench.study_positions
_base_ = [
    '../_base_/models/upernet_hiera.py', '../_base_/datasets/mask_folder.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmseg_runtime.py'
]
crop_size = (128, 128)
# Objects of any size on crops of one size, so that evaluation at another size is about positions.
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomResize', scale=crop_size, ratio_range=(0.75, 2.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size), *_base_.train_pipeline[4:]
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=dict(size_divisor=None, size=crop_size),
    backbone=dict(
        arch=dict(_delete_=True, embed_dim=32, num_heads=1, stages=(1, 1, 3, 1)),
        pos_embed=dict(size=(32, 32))),
    decode_head=dict(
        _delete_=True,
        type='SegformerHead',
        in_channels=[32, 64, 128, 256],
        in_index=[0, 1, 2, 3],
        channels=64,
        num_classes=_base_.num_classes,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False),
    auxiliary_head=None)
# The table learns at 30 times the rate: at the common one it is hardly used after so short a training.
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(custom_keys={'pos_embed': dict(lr_mult=30., decay_mult=0.)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', eta_min=0., by_epoch=False, begin=20, end=600),
]
train_cfg = dict(max_iters=600, val_interval=600)
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=600))
