_base_ = './image_runtime.py'
default_hooks = dict(
    checkpoint=dict(save_best='mse', rule='less'),
    visualization=dict(type='hiera_dense.ReconstructionHook'))
