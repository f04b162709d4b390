# The classifier of the Hiera paper: the mean of the last tokens, a norm, a linear layer.
model = dict(
    type='hiera_dense.HieraClassifier',
    data_preprocessor=dict(
        type='ImgDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    arch='base')
