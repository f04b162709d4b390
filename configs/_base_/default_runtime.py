# What both hosts share. A leaf takes it through `mmdet_runtime.py` or `mmseg_runtime.py`.
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='hiera_dense.CheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=2),
    stop_at_nan=dict(type='hiera_dense.StopAtNaN'),
    sampler_seed=dict(type='DistSamplerSeedHook'))
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend')]
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
