# Hiera-B+, DINO on COCO, 12 epochs. Learning rate: the DINO paper's at batch 16. Drop path: as published
# for Hiera-B+, Mask R-CNN, 100 epochs.
# Hardware: 8 GPUs. Weights: MAE on ImageNet-1K, CC BY-NC 4.0.
# Command: tools/dist_train.sh \
#     configs/dino/dino-4scale_hiera-bplus_8xb2-12e_coco.py 8
# Published: none. Ours: not yet run.
# Written by tools/zoo/leaves.py.
_base_ = [
    '../_base_/models/dino-4scale_hiera.py',
    '../_base_/backbones/hiera-bplus.py',
    '../_base_/datasets/coco_detection_ms.py',
    '../_base_/schedules/adamw_step_dino_12e.py',
    '../_base_/mmdet_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate=0.2),
    neck=dict(in_channels=_base_.channels[1:]))
default_hooks = dict(checkpoint=dict(save_best='coco/bbox_mAP'))
