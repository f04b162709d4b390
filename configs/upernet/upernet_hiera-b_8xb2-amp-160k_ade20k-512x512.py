# Hiera-B, UperNet on ADE20K, 160k iterations. No ADE20K result of Hiera is published; recipe of MAE's
# ViT-B, learning rate as published for batch 16. Drop path: as there. Without the weights
# (model.backbone.init_cfg=None) set also optim_wrapper.paramwise_cfg.layer_decay_rate=1.
# Hardware: 8 GPUs. Weights: MAE on ImageNet-1K, CC BY-NC 4.0.
# Command: tools/dist_train.sh \
#     configs/upernet/upernet_hiera-b_8xb2-amp-160k_ade20k-512x512.py 8
# Published: none. Ours: not yet run.
# Written by tools/zoo/leaves.py.
_base_ = [
    '../_base_/models/upernet_hiera.py',
    '../_base_/backbones/hiera-b.py',
    '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/adamw_poly_160k.py',
    '../_base_/mmseg_runtime.py',
]
# Windows and global blocks as in pretraining (those of SAM 2 need padding here). Crops of one size in
# training and, sliding, in evaluation: the position table sees one size.
model = dict(
    data_preprocessor=dict(size=_base_.crop_size, size_divisor=None),
    backbone=dict(**_base_.backbone, drop_path_rate=0.1),
    decode_head=dict(in_channels=_base_.channels),
    auxiliary_head=dict(in_channels=_base_.channels[2]),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(341, 341)))
# The first block has the same rate as in that recipe, whose ViT has 12 blocks.
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.806))
