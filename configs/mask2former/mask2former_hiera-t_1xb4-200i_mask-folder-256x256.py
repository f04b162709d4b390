# Hiera-T, Mask2Former on a small data set of one's own, images and index masks, from random weights.
# Hardware: a CPU will do.
# Command: python tools/train.py \
#     configs/mask2former/mask2former_hiera-t_1xb4-200i_mask-folder-256x256.py --data FOLDER
_base_ = [
    '../_base_/models/mask2former-semantic_hiera.py', '../_base_/datasets/mask_folder.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmseg_runtime.py'
]
model = dict(
    backbone=dict(arch='tiny'),
    decode_head=dict(
        num_classes=_base_.num_classes,
        loss_cls=dict(class_weight=[1.0] * _base_.num_classes + [0.1])))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=100))
