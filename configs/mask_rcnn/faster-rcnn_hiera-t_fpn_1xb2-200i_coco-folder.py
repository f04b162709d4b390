# Hiera-T, Faster R-CNN on a small data set of one's own in COCO's format, with or without masks, from random
# weights.
# Hardware: a CPU will do.
# Command: python tools/train.py \
#     configs/mask_rcnn/faster-rcnn_hiera-t_fpn_1xb2-200i_coco-folder.py --data FOLDER
_base_ = [
    '../_base_/models/mask-rcnn_hiera_fpn.py', '../_base_/datasets/coco_folder_boxes.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/mmdet_runtime.py'
]
# Mask R-CNN without its masks. Small objects: anchors of 16 px and up.
model = dict(
    type='FasterRCNN',
    backbone=dict(arch='tiny'),
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_head=dict(num_classes=_base_.num_classes), mask_roi_extractor=None, mask_head=None),
    # A quarter of the usual regions, to spare a CPU.
    train_cfg=dict(rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rcnn=dict(max_per_img=_base_.max_per_img)))
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=100, save_best='coco/bbox_mAP'))
