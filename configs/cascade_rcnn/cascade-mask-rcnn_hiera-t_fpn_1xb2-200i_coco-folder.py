# Hiera-T, Cascade Mask R-CNN on a small data set of one's own in COCO's format, from random weights.
# Hardware: a CPU will do.
# Command: python tools/train.py \
#     configs/cascade_rcnn/cascade-mask-rcnn_hiera-t_fpn_1xb2-200i_coco-folder.py --data FOLDER
_base_ = [
    '../_base_/models/cascade-mask-rcnn_hiera_fpn.py', '../_base_/datasets/coco_folder.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmdet_runtime.py'
]
# Small objects: anchors of 16 px and up.
model = dict(
    backbone=dict(arch='tiny'),
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_head=[
            dict(head, num_classes=_base_.num_classes)
            for head in _base_.model.roi_head.bbox_head
        ],
        mask_head=dict(num_classes=_base_.num_classes)),
    test_cfg=dict(rcnn=dict(max_per_img=_base_.max_per_img)))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=100))
