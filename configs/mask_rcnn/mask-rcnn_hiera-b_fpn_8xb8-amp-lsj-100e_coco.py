# Hiera-B, Mask R-CNN on COCO. Hiera (Ryali et al., ICML 2023), appendix A.2: learning rate and drop
# path as published for batch 64.
# Hardware: 8 GPUs. Weights: MAE on ImageNet-1K, CC BY-NC 4.0.
# Command: torchrun --nproc_per_node=8 tools/train.py \
#     configs/mask_rcnn/mask-rcnn_hiera-b_fpn_8xb8-amp-lsj-100e_coco.py --launcher pytorch
# Published, from MAE weights: box AP 52.2, mask AP 46.3. Ours: not yet run.
_base_ = [
    '../_base_/models/mask-rcnn_hiera_fpn.py', '../_base_/datasets/coco_instance_lsj.py',
    '../_base_/schedules/adamw_step_100e.py', '../_base_/mmdet_runtime.py'
]
# Windows at 1024 px are not published; our choice. Global attention in all of stage 3 (64 x 64
# tokens) would cost more than the published 0.6T FLOPs leave room for. Windows follow the image: 16 at
# this size, which divides 64. Three global blocks, at the places of SAM 2's trunk of this depth, carry
# information from window to window; one, at 20, takes a seventh less time (docs/performance.md).
model = dict(
    backbone=dict(
        arch='base',
        window_spec='auto',
        global_att_blocks=(12, 16, 20),
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='hiera_base_224.mae_in1k')))
optim_wrapper = dict(optimizer=dict(lr=3.5e-5))
