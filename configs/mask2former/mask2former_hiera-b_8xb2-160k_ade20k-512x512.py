# Hiera-B, Mask2Former on ADE20K, 160k iterations. Learning rate: the Mask2Former paper's at batch 16.
# Drop path: as published for Hiera-B, Mask R-CNN, 100 epochs.
# Hardware: 8 GPUs. Weights: MAE on ImageNet-1K, CC BY-NC 4.0.
# Command: tools/dist_train.sh \
#     configs/mask2former/mask2former_hiera-b_8xb2-160k_ade20k-512x512.py 8
# Published: none. Ours: not yet run.
# Written by tools/zoo/leaves.py.
_base_ = [
    '../_base_/models/mask2former-semantic_hiera.py',
    '../_base_/backbones/hiera-b.py',
    '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/adamw_poly_mask2former_160k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size, size_divisor=None),
    backbone=dict(**_base_.backbone, drop_path_rate=0.2),
    decode_head=dict(in_channels=_base_.channels))
