# Instance segmentation on a folder in COCO's format (polygons or RLE), as coco_folder_boxes.py but with a
# mask for each object; annotations without one are refused when this file is parsed.
_base_ = './coco_folder_boxes.py'
from hiera_dense.data.folders import with_masks
own_data = with_masks(_base_.own_data)
load = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
train_pipeline = [
    _base_.train_pipeline[0],
    dict(load, type='hiera_dense.LoadAnnotations'), *_base_.train_pipeline[2:]
]
test_pipeline = [*_base_.test_pipeline[:2], load, _base_.test_pipeline[3]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
