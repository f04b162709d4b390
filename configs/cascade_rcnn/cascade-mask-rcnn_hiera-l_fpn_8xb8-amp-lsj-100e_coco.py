# Hiera-L, Cascade Mask R-CNN on COCO, 100 epochs, large-scale jitter, after Hiera (Ryali et al., ICML
# 2023), appendix A.2, at batch 64. Learning rate: as published for Hiera-L, Mask R-CNN, 100 epochs. Drop
# path: as published for Hiera-L, Mask R-CNN, 100 epochs.
# Hardware: 8 GPUs. Weights: MAE on ImageNet-1K, CC BY-NC 4.0.
# Command: tools/dist_train.sh \
#     configs/cascade_rcnn/cascade-mask-rcnn_hiera-l_fpn_8xb8-amp-lsj-100e_coco.py 8
# Published: none. Ours: not yet run.
# Written by tools/zoo/leaves.py.
_base_ = [
    '../_base_/models/cascade-mask-rcnn_hiera_fpn.py',
    '../_base_/backbones/hiera-l.py',
    '../_base_/datasets/coco_instance_lsj.py',
    '../_base_/schedules/adamw_step_100e.py',
    '../_base_/mmdet_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate=0.4),
    neck=dict(in_channels=_base_.channels))
optim_wrapper = dict(optimizer=dict(lr=3e-5))
