# 160k iterations at batch 16, as in the Mask2Former paper; the optimizer is that of instances.
_base_ = './adamw_step_mask2former_50e.py'
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0., by_epoch=False, begin=0, end=160000)
]
train_cfg = dict(max_iters=160000)
