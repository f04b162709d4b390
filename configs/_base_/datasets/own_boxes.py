# Detection on your own folder in COCO's format, with masks or without: sizes, batch, length, anchors and rare
# classes follow the data (hiera_dense/data/choices.py). Large-scale jitter of 0.5 to 2.0 and flips; our choice.
_base_ = ['./coco_folder_boxes.py', '../schedules/own_data.py', '../mmdet_runtime.py']
from hiera_dense.data.choices import choose
choices = choose(_base_.own_data)
image_size = (choices['size'], choices['size'])
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(
        type='RandomCrop',
        crop_type='absolute',
        crop_size=image_size,
        recompute_bbox=True,
        allow_negative_crop=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(choices['min_box'], ) * 2),
    # One size, so that the memory that a batch takes is known.
    dict(type='Pad', size=image_size, pad_val=dict(img=(114, 114, 114))),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    _base_.test_pipeline[0], dict(type='Resize', scale=image_size, keep_ratio=True),
    *_base_.test_pipeline[2:]
]
dataset = dict(_base_.train_dataloader.dataset, pipeline=train_pipeline)
if choices['repeat_below']:
    dataset = dict(
        type='ClassBalancedDataset', oversample_thr=choices['repeat_below'], dataset=dataset)
train_dataloader = dict(
    batch_size=choices['batch'],
    num_workers=2,
    drop_last=True,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(_delete_=True, **dataset))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=choices['lr']))
param_scheduler = [
    dict(_base_.warm_up, end=choices['warmup']),
    dict(_base_.cosine, end=choices['epochs'])
]
train_cfg = dict(max_epochs=choices['epochs'], val_interval=choices['val_interval'])
default_hooks = dict(
    logger=_base_.logger,
    checkpoint=dict(_base_.checkpoint, interval=choices['val_interval'], save_best='coco/bbox_mAP'))
log_processor = dict(by_epoch=True)
custom_hooks = [_base_.average, dict(_base_.stop, monitor='coco/bbox_mAP', min_delta=0.001)]
