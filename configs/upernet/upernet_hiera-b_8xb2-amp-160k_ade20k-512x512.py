# Hiera-B, UperNet on ADE20K. No ADE20K result of Hiera is published; recipe of MAE ViT-B with
# UperNet, learning rate as published for batch 16.
# Hardware: 8 GPUs. Weights: MAE on ImageNet-1K, CC BY-NC 4.0; without them
# (model.backbone.init_cfg=None) set also optim_wrapper.paramwise_cfg.layer_decay_rate=1.
# Command: torchrun --nproc_per_node=8 tools/train.py \
#     configs/upernet/upernet_hiera-b_8xb2-amp-160k_ade20k-512x512.py --launcher pytorch
# Published: none. Ours: not yet run.
_base_ = [
    '../_base_/models/upernet_hiera.py', '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/adamw_poly_160k.py', '../_base_/mmseg_runtime.py'
]
# Windows and global stages as published. Crops of 512 x 512 px in training and, sliding, in evaluation,
# as in that recipe: the position table sees one size.
model = dict(
    data_preprocessor=dict(size=(512, 512), size_divisor=None),
    backbone=dict(
        arch='base',
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='hiera_base_224.mae_in1k')),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
# 24 blocks instead of 12: the square root of the layer decay, so that the first has the same rate.
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.806))
