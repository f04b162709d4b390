# Hiera-T, UperNet on ADE20K. No ADE20K result of Hiera is published; recipe of MAE ViT-B with
# UperNet, learning rate as published for batch 16; no layer decay.
# Hardware: 8 GPUs. From random weights until published ones can be loaded.
# Command: torchrun --nproc_per_node=8 tools/train.py \
#     configs/upernet/upernet_hiera-t_8xb2-amp-160k_ade20k-512x512.py --launcher pytorch
# Published: none. Ours: not yet run.
_base_ = [
    '../_base_/models/upernet_hiera.py', '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/adamw_poly_160k.py', '../_base_/mmseg_runtime.py'
]
# At 512 px stage 3 has 32 x 32 tokens: the published global attention is affordable and kept.
model = dict(backbone=dict(arch='tiny', drop_path_rate=0.1))
