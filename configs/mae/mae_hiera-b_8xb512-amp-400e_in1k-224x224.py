# Hiera-B, masked autoencoder on ImageNet-1K, images in data/imagenet/train and data/imagenet/val.
# Paper: Ryali et al., "Hiera", ICML 2023; He et al., "Masked Autoencoders", CVPR 2022.
# Hardware: 8 GPUs with 512 images each, batch 4096; elsewhere use --auto-scale-lr.
# Command: tools/dist_train.sh configs/mae/mae_hiera-b_8xb512-amp-400e_in1k-224x224.py 8
# Published: none for these 400 epochs.
# Ours: not yet run.
_base_ = [
    '../_base_/models/mae_hiera.py', '../_base_/datasets/imagenet_mae_224.py',
    '../_base_/schedules/adamw_cosine_mae_400e.py', '../_base_/mae_runtime.py'
]
