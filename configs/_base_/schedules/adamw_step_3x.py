# 36 epochs of COCO, milestones at epochs 27 and 33, as mmdet has it for Swin.
_base_ = './adamw_step_1x.py'
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=263880, milestones=[197910, 241890]),
]
train_cfg = dict(max_iters=263880)
