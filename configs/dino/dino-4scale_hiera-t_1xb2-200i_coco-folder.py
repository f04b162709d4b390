# Hiera-T, DINO on a small data set of one's own in COCO's format, with or without masks, from random weights.
# Hardware: a CPU will do.
# Command: python tools/train.py \
#     configs/dino/dino-4scale_hiera-t_1xb2-200i_coco-folder.py --data FOLDER
_base_ = [
    '../_base_/models/dino-4scale_hiera.py', '../_base_/datasets/coco_folder_boxes.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmdet_runtime.py'
]
model = dict(
    num_queries=max(900, _base_.max_per_img),
    backbone=dict(arch='tiny'),
    bbox_head=dict(num_classes=_base_.num_classes),
    test_cfg=dict(max_per_img=max(300, _base_.max_per_img)))
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=100, save_best='coco/bbox_mAP'))
