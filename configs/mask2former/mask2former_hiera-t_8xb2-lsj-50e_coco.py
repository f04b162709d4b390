# Hiera-T, Mask2Former on COCO instances, 50 epochs. Learning rate: the Mask2Former paper's at batch 16.
# Drop path: our choice.
# Hardware: 8 GPUs. Weights: MAE on ImageNet-1K, CC BY-NC 4.0.
# Command: tools/dist_train.sh \
#     configs/mask2former/mask2former_hiera-t_8xb2-lsj-50e_coco.py 8
# Published: none. Ours: not yet run.
# Written by tools/zoo/leaves.py.
_base_ = [
    '../_base_/models/mask2former-instance_hiera.py',
    '../_base_/backbones/hiera-t.py',
    '../_base_/datasets/coco_instance_lsj_mask2former.py',
    '../_base_/schedules/adamw_step_mask2former_50e.py',
    '../_base_/mmdet_runtime.py',
]
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate=0.1),
    panoptic_head=dict(in_channels=_base_.channels))
