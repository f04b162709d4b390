# Hiera-T, Mask2Former on instances of a small data set of one's own in COCO's format, from random
# weights.
# Hardware: a CPU will do.
# Command: python tools/train.py \
#     configs/mask2former/mask2former_hiera-t_1xb2-200i_coco-folder.py --data FOLDER
_base_ = [
    '../_base_/models/mask2former-instance_hiera.py', '../_base_/datasets/coco_folder.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmdet_runtime.py'
]
model = dict(
    backbone=dict(arch='tiny'),
    panoptic_head=dict(
        num_queries=max(100, _base_.max_per_img),
        num_things_classes=_base_.num_classes,
        loss_cls=dict(class_weight=[1.0] * _base_.num_classes + [0.1])),
    panoptic_fusion_head=dict(num_things_classes=_base_.num_classes),
    test_cfg=dict(max_per_image=_base_.max_per_img))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=100))
