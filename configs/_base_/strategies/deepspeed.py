# DeepSpeed by mmengine, ZeRO 2: gradients and optimizer are shared out over the processes, weights and
# computation are in bfloat16 (docs/scaling.md). A leaf replaces its `optim_wrapper`: DeepSpeed's takes an
# optimizer and paramwise_cfg, and nothing else.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    zero_optimization=dict(stage=2, overlap_comm=True, contiguous_gradients=True),
    bf16=dict(enabled=True),
    inputs_to_half=['inputs'])
