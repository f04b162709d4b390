# Hiera-T, Mask R-CNN on drawn shapes (hiera-dense draw-data), from random weights.
# Hardware: a CPU will do.
# Command: make demo
_base_ = [
    '../_base_/models/mask-rcnn_hiera_fpn.py', '../_base_/datasets/coco_folder.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmdet_runtime.py'
]
metainfo = dict(palette=[(230, 60, 60), (60, 200, 60), (60, 90, 230), (230, 200, 50)])
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
train_dataloader = dict(batch_size=3, dataset=dict(metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = val_dataloader
# Half the usual channels and fewer regions: enough for a few objects in a small image.
extractor = dict(out_channels=128)
model = dict(
    backbone=dict(arch='tiny'),
    neck=dict(out_channels=128),
    rpn_head=dict(in_channels=128, feat_channels=128, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=extractor,
        mask_roi_extractor=extractor,
        bbox_head=dict(type='Shared2FCBBoxHead', in_channels=128, num_classes=_base_.num_classes),
        mask_head=dict(in_channels=128, conv_out_channels=128, num_classes=_base_.num_classes)),
    train_cfg=dict(rpn_proposal=dict(max_per_img=300), rcnn=dict(sampler=dict(num=64))),
    # After so few iterations pieces of an object are found beside the whole, and are to go.
    test_cfg=dict(rpn=dict(max_per_img=200), rcnn=dict(nms=dict(iou_threshold=0.3))))
optim_wrapper = dict(optimizer=dict(lr=4e-4))
# Evaluated after the first iteration, for comparison, and after the last.
train_cfg = dict(val_interval=1, dynamic_intervals=[(3, 200)])
randomness = dict(seed=0)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=200))
