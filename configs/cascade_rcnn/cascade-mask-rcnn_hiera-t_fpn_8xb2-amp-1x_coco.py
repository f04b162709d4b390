# Hiera-T, Cascade Mask R-CNN on COCO, 12 epochs. Learning rate: mmdet's for Swin at batch 16. Drop path:
# our choice.
# Hardware: 8 GPUs. Weights: MAE on ImageNet-1K, CC BY-NC 4.0.
# Command: tools/dist_train.sh \
#     configs/cascade_rcnn/cascade-mask-rcnn_hiera-t_fpn_8xb2-amp-1x_coco.py 8
# Published: none. Ours: not yet run.
# Written by tools/zoo/leaves.py.
_base_ = [
    '../_base_/models/cascade-mask-rcnn_hiera_fpn.py',
    '../_base_/backbones/hiera-t.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/adamw_step_1x.py',
    '../_base_/mmdet_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate=0.1),
    neck=dict(in_channels=_base_.channels))
