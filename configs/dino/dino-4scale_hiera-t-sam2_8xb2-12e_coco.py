# HieraDet-T of SAM 2.1, DINO on COCO, 12 epochs. Learning rate: the DINO paper's at batch 16. Drop path:
# our choice.
# Hardware: 8 GPUs. Weights: SAM 2.1, Apache-2.0.
# Command: tools/dist_train.sh \
#     configs/dino/dino-4scale_hiera-t-sam2_8xb2-12e_coco.py 8
# Published: none. Ours: not yet run.
# Written by tools/zoo/leaves.py.
_base_ = [
    '../_base_/models/dino-4scale_hiera.py',
    '../_base_/backbones/hiera-t-sam2.py',
    '../_base_/datasets/coco_detection_ms.py',
    '../_base_/schedules/adamw_step_dino_12e.py',
    '../_base_/mmdet_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate=0.1),
    neck=dict(in_channels=_base_.channels[1:]))
default_hooks = dict(checkpoint=dict(save_best='coco/bbox_mAP'))
