# Images in a folder for each class, train/CLASS and val/CLASS, named by the environment variable
# HIERA_DENSE_DATA or by `hiera-dense train --data`. Classes are read from it when this file is parsed.
_base_ = []  # with it, mmengine reads a config with an import as what it is, a plain one
from hiera_dense.data.folders import class_folder
own_data = class_folder()
num_classes = len(own_data['classes'])
crop_size = (160, 160)
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='hiera_dense.ClassFolders',
        root=own_data['root'] + '/' + own_data['train']['images'],
        classes=own_data['classes'],
        transforms=[
            dict(
                type='RandomResizedCrop',
                size=crop_size,
                scale=(0.3, 1.0),
                interpolation='bicubic',
                antialias=True),
            dict(type='RandomHorizontalFlip'),
        ]))
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='hiera_dense.ClassFolders',
        root=own_data['root'] + '/' + own_data['val']['images'],
        classes=own_data['classes'],
        transforms=[
            dict(type='Resize', size=crop_size[0], interpolation='bicubic', antialias=True),
            dict(type='CenterCrop', size=crop_size),
        ]))
test_dataloader = val_dataloader
