# HieraDet-S of SAM 2.1, Mask R-CNN on the last stage alone, with ViTDet's simple pyramid (Li et al.,
# 2022), on COCO, 100 epochs, at batch 64. Learning rate: our choice, as for Hiera-B. Drop path: our
# choice.
# Hardware: 8 GPUs. Weights: SAM 2.1, Apache-2.0.
# Command: tools/dist_train.sh \
#     configs/simple_pyramid/mask-rcnn_hiera-s-sam2_simple-pyramid_8xb8-amp-lsj-100e_coco.py 8
# Published: none. Ours: not yet run.
# Written by tools/zoo/leaves.py.
_base_ = [
    '../_base_/models/mask-rcnn_hiera_simple-pyramid.py',
    '../_base_/backbones/hiera-s-sam2.py',
    '../_base_/datasets/coco_instance_lsj.py',
    '../_base_/schedules/adamw_step_100e.py',
    '../_base_/mmdet_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate=0.1),
    neck=dict(in_channels=_base_.channels[-1]))
optim_wrapper = dict(optimizer=dict(lr=3.5e-5))
