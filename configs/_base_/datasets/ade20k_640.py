# ADE20K, crops of 640 x 640.
_base_ = './ade20k_512.py'
crop_size = (640, 640)
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomResize', scale=(2560, 640), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    *_base_.train_pipeline[4:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=(2560, 640), keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
