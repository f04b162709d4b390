# Semantic segmentation on your own folder of images and index masks: sizes, batch, length and rare classes
# follow the data (hiera_dense/data/choices.py). Jitter of 0.5 to 2.0, flips and colours; our choice.
_base_ = ['./mask_folder.py', '../schedules/own_data.py', '../mmseg_runtime.py']
from hiera_dense.data.choices import choose
choices = choose(_base_.own_data)
image_size = (choices['size'], choices['size'])
crop_size = image_size
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomResize', scale=image_size, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    *_base_.train_pipeline[4:],
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
    checkpoint=dict(_base_.checkpoint, interval=choices['val_interval'], save_best='mIoU'))
log_processor = dict(by_epoch=True)
custom_hooks = [_base_.average, dict(_base_.stop, monitor='mIoU', min_delta=0.1)]
