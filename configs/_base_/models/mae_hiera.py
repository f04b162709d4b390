# The masked autoencoder of the Hiera paper: 60 % of the mask units hidden, features of three grids fused,
# a decoder of 8 blocks of 512 channels, normalised pixels as the target.
model = dict(
    type='hiera_dense.HieraMAE',
    data_preprocessor=dict(
        type='ImgDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    arch='base')
