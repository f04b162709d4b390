# HieraDet-B+ of SAM 2.1, Cascade Mask R-CNN on COCO, 36 epochs, many scales. Learning rate: mmdet's for
# Swin at batch 16. Drop path: as published for Hiera-B+, Mask R-CNN, 100 epochs.
# Hardware: 8 GPUs. Weights: SAM 2.1, Apache-2.0.
# Command: tools/dist_train.sh \
#     configs/cascade_rcnn/cascade-mask-rcnn_hiera-bplus-sam2_fpn_8xb2-amp-ms-3x_coco.py 8
# Published: none. Ours: not yet run.
# Written by tools/zoo/leaves.py.
_base_ = [
    '../_base_/models/cascade-mask-rcnn_hiera_fpn.py',
    '../_base_/backbones/hiera-bplus-sam2.py',
    '../_base_/datasets/coco_instance_ms.py',
    '../_base_/schedules/adamw_step_3x.py',
    '../_base_/mmdet_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate=0.2),
    neck=dict(in_channels=_base_.channels))
