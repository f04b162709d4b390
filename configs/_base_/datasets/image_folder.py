# Images without labels: any folder, nested or flat, named by the environment variable HIERA_DENSE_DATA or
# by `hiera-dense train --data`. Of a folder with splits, labelled or not, the images of these; of any other
# one, each twentieth image is held out for validation.
_base_ = []  # with it, mmengine reads a config with an import as what it is, a plain one
from hiera_dense.data.folders import image_folder
own_data = image_folder()
hold_out = 20 if own_data['train'] == own_data['val'] else 0
crop_size = (160, 160)
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='hiera_dense.Images',
        root=own_data['root'] + '/' + own_data['train']['images'],
        hold_out=hold_out,
        transforms=[
            dict(
                type='RandomResizedCrop',
                size=crop_size,
                scale=(0.2, 1.0),
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
        type='hiera_dense.Images',
        root=own_data['root'] + '/' + own_data['val']['images'],
        hold_out=hold_out,
        validation=True,
        transforms=[
            dict(type='Resize', size=crop_size[0], interpolation='bicubic', antialias=True),
            dict(type='CenterCrop', size=crop_size),
        ]))
test_dataloader = val_dataloader
