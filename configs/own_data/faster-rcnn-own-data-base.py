# HieraDet-B+ of SAM 2.1, Faster R-CNN on your own data in COCO's format, with or without masks. Drop path: our choice.
# Hardware: 1 GPU. Weights: SAM 2.1, Apache-2.0.
# Command: python tools/train.py \
#     configs/own_data/faster-rcnn-own-data-base.py --data FOLDER
_base_ = './faster-rcnn-own-data.py'
model = dict(
    backbone=dict(
        arch='sam2_base_plus',
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='sam2.1_hiera_base_plus')),
    neck=dict(in_channels=[112, 224, 448, 896]))
