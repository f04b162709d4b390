# Hiera-T, UperNet on a small data set of one's own, images and index masks, from random weights.
# Hardware: a CPU will do.
# Command: HIERA_DENSE_DATA=FOLDER python tools/train.py \
#     configs/upernet/upernet_hiera-t_1xb4-200i_mask-folder-256x256.py
_base_ = [
    '../_base_/models/upernet_hiera.py', '../_base_/datasets/mask_folder.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmseg_runtime.py'
]
# The classes of the folder, in the order of their values in the masks.
classes = ('background', 'cabinet', 'ceiling', 'chair', 'door', 'elevator', 'railing', 'road',
           'stair', 'tree', 'wall')
metainfo = dict(classes=classes)
# How file names end; an image and its mask share the rest.
dataset = dict(metainfo=metainfo, img_suffix='.jpg', seg_map_suffix='.png')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = val_dataloader
# Plain BatchNorm: SyncBN needs a GPU. Narrow heads, to spare a CPU.
head = dict(channels=128, num_classes=len(classes), norm_cfg=dict(type='BN', requires_grad=True))
model = dict(backbone=dict(arch='tiny'), decode_head=head, auxiliary_head=head)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=100))
