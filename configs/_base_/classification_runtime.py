_base_ = './image_runtime.py'
default_hooks = dict(checkpoint=dict(save_best='top1', rule='greater'))
