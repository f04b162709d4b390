# torch's FSDP by mmengine: weights, gradients and optimizer are shared out over the processes, a block of
# the trunk at a time (docs/scaling.md). Mixed precision is that of the recipe.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='hiera_dense.FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel', auto_wrap_policy='hiera_dense.each_block'))
