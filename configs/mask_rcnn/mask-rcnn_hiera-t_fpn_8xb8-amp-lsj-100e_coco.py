# Hiera-T, Mask R-CNN on COCO. The paper has no COCO recipe for T; our choice: that of B with drop
# path 0.1. For batch 64, so the learning rate is unscaled.
# Hardware: 8 GPUs. Weights: MAE on ImageNet-1K, CC BY-NC 4.0.
# Command: torchrun --nproc_per_node=8 tools/train.py \
#     configs/mask_rcnn/mask-rcnn_hiera-t_fpn_8xb8-amp-lsj-100e_coco.py --launcher pytorch
# Published: none. Ours: not yet run.
_base_ = [
    '../_base_/models/mask-rcnn_hiera_fpn.py', '../_base_/datasets/coco_instance_lsj.py',
    '../_base_/schedules/adamw_step_100e.py', '../_base_/mmdet_runtime.py'
]
# Windows and global blocks: chosen as for Hiera-B.
model = dict(
    backbone=dict(
        arch='tiny',
        window_spec='auto',
        global_att_blocks=(5, 7, 9),
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='hiera_tiny_224.mae_in1k')))
optim_wrapper = dict(optimizer=dict(lr=3.5e-5))
