# ImageNet-1K without labels, with the augmentation of MAE (He et al., 2022): random crops and flips.
data_root = 'data/imagenet/'
crop_size = (224, 224)
train_dataloader = dict(
    batch_size=512,
    num_workers=16,
    pin_memory=True,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='hiera_dense.Images',
        root=data_root + 'train',
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
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='hiera_dense.Images',
        root=data_root + 'val',
        transforms=[
            dict(type='Resize', size=256, interpolation='bicubic', antialias=True),
            dict(type='CenterCrop', size=crop_size),
        ]))
test_dataloader = val_dataloader
