# Semantic segmentation on a folder of images and index masks (the value of a pixel is its class, 255 is
# ignored), named by the environment variable HIERA_DENSE_DATA or by `hiera-dense train --data`. Classes are
# read from it when this file is parsed; a leaf gives `num_classes` to its heads.
_base_ = []  # with it, mmengine reads a config with an import as what it is, a plain one
from hiera_dense.data.folders import mask_folder
own_data = mask_folder()
num_classes = len(own_data['classes'])
dataset_type = 'hiera_dense.MaskFolder'
data_root = own_data['root']
metainfo = dict(classes=own_data['classes'], palette=own_data['palette'])
image_size = (320, 320)
crop_size = (256, 256)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=False),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', reduce_zero_label=False),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path=own_data['train']['images'], seg_map_path=own_data['train']['annotations']),
        metainfo=metainfo,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path=own_data['val']['images'], seg_map_path=own_data['val']['annotations']),
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
