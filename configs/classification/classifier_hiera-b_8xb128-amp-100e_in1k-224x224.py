# Hiera-B, classifier on ImageNet-1K, images in data/imagenet/train/CLASS and data/imagenet/val/CLASS.
# Paper: Ryali et al., "Hiera", ICML 2023. Pretrained weights of it: CC BY-NC 4.0.
# Hardware: 8 GPUs with 128 images each, batch 1024; elsewhere use --auto-scale-lr.
# Command: tools/dist_train.sh \
#     configs/classification/classifier_hiera-b_8xb128-amp-100e_in1k-224x224.py 8
# Published (Hiera paper, its own recipe): top-1 84.5.
# Ours: not yet run.
_base_ = [
    '../_base_/models/classifier_hiera.py', '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/adamw_cosine_100e_in1k.py', '../_base_/classification_runtime.py'
]
model = dict(
    drop_path_rate=0.1,
    label_smoothing=0.1,
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0),
    init_cfg=dict(type='Pretrained', checkpoint='hiera_base_224.mae_in1k'))
