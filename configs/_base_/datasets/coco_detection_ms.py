# COCO 2017, boxes alone, at many scales as mmdet trains DINO: images without objects stay, and crops come
# from images of any length.
_base_ = './coco_instance_ms.py'
load = dict(type='LoadAnnotations', with_bbox=True)
train_pipeline = [
    _base_.train_pipeline[0],
    load,
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomChoice',
        transforms=[[_base_.resize],
                    [
                        dict(
                            type='RandomChoiceResize',
                            scales=[(400, 4200), (500, 4200), (600, 4200)],
                            keep_ratio=True), _base_.crop[1], _base_.resize
                    ]]),
    dict(type='PackDetInputs'),
]
test_pipeline = [*_base_.test_pipeline[:2], load, _base_.test_pipeline[-1]]
train_dataloader = dict(
    dataset=dict(filter_cfg=dict(filter_empty_gt=False), pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
tta_model = dict(tta_cfg=dict(max_per_img=300))
