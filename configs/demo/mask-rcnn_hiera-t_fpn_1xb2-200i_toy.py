# Hiera-T, Mask R-CNN on drawn shapes (tools/make_toy_data.py), from random weights.
# Hardware: a CPU will do.
# Command: make demo
_base_ = [
    '../_base_/models/mask-rcnn_hiera_fpn.py', '../_base_/datasets/coco_folder.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmdet_runtime.py'
]
classes = ('disc', 'square', 'triangle', 'star')
metainfo = dict(
    classes=classes, palette=[(230, 60, 60), (60, 200, 60), (60, 90, 230), (230, 200, 50)])
resize = dict(type='Resize', scale=(160, 160), keep_ratio=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True), resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'), resize,
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs')
]
train_dataloader = dict(dataset=dict(metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(arch='tiny'),
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_head=dict(type='Shared2FCBBoxHead', num_classes=len(classes)),
        mask_head=dict(num_convs=2, num_classes=len(classes))),
    # A few objects in an image need few regions.
    train_cfg=dict(rpn_proposal=dict(max_per_img=300), rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(max_per_img=200)))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=100))
