# COCO 2017 at 1333 x 800: the shorter side 800 px, the longer one at most 1333.
_base_ = './coco_instance_lsj.py'
image_size = (1333, 800)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='hiera_dense.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    *_base_.test_pipeline[-2:],
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    batch_sampler=dict(type='AspectRatioBatchSampler'),  # or upright and flat ones pad each other
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# Views of three sizes around that of evaluation, without padding to a square.
tta_views = _base_.tta_pipeline[1].transforms
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type='TestTimeAug',
        transforms=[[
            dict(type='Resize', scale=(round(side * 5 / 3), side), keep_ratio=True)
            for side in (640, 800, 960)
        ], tta_views[1], *tta_views[3:]]),
]
