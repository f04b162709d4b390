# timm's Hiera-S with absolute win, Mask R-CNN on COCO, 36 epochs, many scales. Learning rate: mmdet's for
# Swin at batch 16. Drop path: our choice.
# Hardware: 8 GPUs. Weights: ImageNet-12K and -1K, Apache-2.0.
# Command: tools/dist_train.sh \
#     configs/mask_rcnn/mask-rcnn_hiera-s-abswin_fpn_8xb2-amp-ms-3x_coco.py 8
# Published: none. Ours: not yet run.
# Written by tools/zoo/leaves.py.
_base_ = [
    '../_base_/models/mask-rcnn_hiera_fpn.py',
    '../_base_/backbones/hiera-s-abswin.py',
    '../_base_/datasets/coco_instance_ms.py',
    '../_base_/schedules/adamw_step_3x.py',
    '../_base_/mmdet_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate=0.1),
    neck=dict(in_channels=_base_.channels))
