# Hiera-T, UperNet on a small data set of one's own, images and index masks, from random weights.
# Hardware: a CPU will do.
# Command: python tools/train.py \
#     configs/upernet/upernet_hiera-t_1xb4-200i_mask-folder-256x256.py --data FOLDER
_base_ = [
    '../_base_/models/upernet_hiera.py', '../_base_/datasets/mask_folder.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmseg_runtime.py'
]
# Plain BatchNorm: SyncBN needs a GPU. Narrow heads, to spare a CPU.
head = dict(
    channels=128,
    num_classes=_base_.num_classes,
    norm_cfg=dict(type='BN', requires_grad=True))
model = dict(backbone=dict(arch='tiny'), decode_head=head, auxiliary_head=head)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=100))
