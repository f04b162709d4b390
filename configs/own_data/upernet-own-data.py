# HieraDet-T of SAM 2.1, UperNet on your own images and index masks. What follows the data is in
# datasets/own_masks.py; the schedule in schedules/own_data.py. Drop path: our choice.
# Hardware: 1 GPU. Weights: SAM 2.1, Apache-2.0.
# Command: python tools/train.py \
#     configs/own_data/upernet-own-data.py --data FOLDER
_base_ = [
    '../_base_/models/upernet_hiera.py',
    '../_base_/backbones/hiera-t-sam2.py',
    '../_base_/datasets/own_masks.py',
]
# GroupNorm: statistics of a batch would be those of a few images.
head = dict(num_classes=_base_.num_classes, norm_cfg=dict(type='GN', num_groups=32))
model = dict(
    # One size, so that the memory that a batch takes is known.
    data_preprocessor=dict(size=_base_.crop_size, size_divisor=None),
    backbone=dict(**_base_.backbone, drop_path_rate=0.1),
    decode_head=dict(in_channels=_base_.channels, **head),
    auxiliary_head=dict(in_channels=_base_.channels[2], **head))
