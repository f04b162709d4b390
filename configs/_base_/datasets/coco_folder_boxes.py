# Detection on a folder in COCO's format, with masks or without, named by the environment variable
# HIERA_DENSE_DATA or by `hiera-dense train --data`. Classes are read from it when this file is parsed; a
# leaf gives `num_classes` and `max_per_img` to its heads.
_base_ = []  # with it, mmengine reads a config with an import as what it is, a plain one
from hiera_dense.data.folders import coco_folder
own_data = coco_folder()
num_classes = len(own_data['classes'])
max_per_img = max(100, own_data['most_instances'])
dataset_type = 'CocoDataset'
data_root = own_data['root']
metainfo = dict(classes=own_data['classes'], palette=own_data['palette'])
image_size = (256, 256)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(
        type='RandomCrop',
        crop_type='absolute',
        crop_size=image_size,
        recompute_bbox=True,
        allow_negative_crop=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1)),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file=own_data['train']['annotations'],
        data_prefix=dict(img=own_data['train']['images']),
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=True, min_size=16),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file=own_data['val']['annotations'],
        data_prefix=dict(img=own_data['val']['images']),
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='hiera_dense.CocoMetric',
    ann_file=data_root + '/' + own_data['val']['annotations'],
    metric='bbox')
test_evaluator = val_evaluator
