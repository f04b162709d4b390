# Hiera-T, masked autoencoder on images of one's own without labels, from random weights.
# Hardware: a CPU will do.
# Command: python tools/train.py \
#     configs/mae/mae_hiera-t_1xb16-1k_image-folder-160x160.py --data FOLDER
_base_ = [
    '../_base_/models/mae_hiera.py', '../_base_/datasets/image_folder.py',
    '../_base_/schedules/adamw_cosine_mae_400e.py', '../_base_/mae_runtime.py'
]
# A small decoder, to spare a CPU; and what a small batch and a small data set need. Our choice.
model = dict(arch='tiny', decoder_dim=256, decoder_depth=4, decoder_num_heads=8)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=1.))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0., by_epoch=False, begin=50, end=1000),
]
train_cfg = dict(max_iters=1000, val_interval=200)
auto_scale_lr = dict(base_batch_size=16)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=200))
