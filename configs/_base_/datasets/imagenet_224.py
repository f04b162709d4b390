# ImageNet-1K in a folder for each class, augmented as MAE (He et al., 2022) does it for fine-tuning:
# RandAugment (9, 0.5), of which torchvision's has no 0.5; erasing with probability 0.25, with the mean
# colour where it has noise.
data_root = 'data/imagenet/'
crop_size = (224, 224)
train_dataloader = dict(
    batch_size=128,
    num_workers=16,
    pin_memory=True,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='hiera_dense.ClassFolders',
        root=data_root + 'train',
        transforms=[
            dict(
                type='RandomResizedCrop', size=crop_size, interpolation='bicubic', antialias=True),
            dict(type='RandomHorizontalFlip'),
            dict(type='RandAugment', magnitude=9, interpolation='bicubic'),
            dict(type='PILToTensor'),
            dict(type='RandomErasing', p=0.25, value=[124, 116, 104]),
        ]))
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='hiera_dense.ClassFolders',
        root=data_root + 'val',
        transforms=[
            dict(type='Resize', size=256, interpolation='bicubic', antialias=True),
            dict(type='CenterCrop', size=crop_size),
        ]))
test_dataloader = val_dataloader
