# HieraDet-T of SAM 2.1, Mask R-CNN on your own data in COCO's format. What follows the data is in
# datasets/own_boxes.py; the schedule in schedules/own_data.py. Drop path: our choice.
# Hardware: 1 GPU. Weights: SAM 2.1, Apache-2.0.
# Command: python tools/train.py \
#     configs/own_data/mask-rcnn-own-data.py --data FOLDER
_base_ = [
    '../_base_/models/mask-rcnn_hiera_fpn.py',
    '../_base_/backbones/hiera-t-sam2.py',
    '../_base_/datasets/own_instances.py',
]
model = dict(
    backbone=dict(**_base_.backbone, drop_path_rate=0.1),
    neck=dict(in_channels=_base_.channels),
    rpn_head=dict(anchor_generator=dict(scales=[_base_.choices.anchor_scale])),
    roi_head=dict(
        bbox_head=dict(num_classes=_base_.num_classes),
        mask_head=dict(num_classes=_base_.num_classes)),
    test_cfg=dict(rcnn=dict(max_per_img=_base_.max_per_img)))
