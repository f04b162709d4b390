# COCO 2017, boxes alone, at many scales as DINO trains: images without objects stay.
_base_ = './coco_instance_ms.py'
load = dict(type='LoadAnnotations', with_bbox=True)
train_pipeline = [_base_.train_pipeline[0], load, *_base_.train_pipeline[2:]]
test_pipeline = [*_base_.test_pipeline[:2], load, _base_.test_pipeline[-1]]
train_dataloader = dict(
    dataset=dict(filter_cfg=dict(filter_empty_gt=False), pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
