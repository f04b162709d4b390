_base_ = './default_runtime.py'
default_scope = 'mmengine'
default_hooks = dict(
    checkpoint=dict(save_best='mse', rule='less'),
    visualization=dict(type='hiera_dense.ReconstructionHook'))
visualizer = dict(type='Visualizer', vis_backends={{_base_.vis_backends}}, name='visualizer')
val_evaluator = dict(type='hiera_dense.Mean')
test_evaluator = val_evaluator
randomness = dict(seed=None, diff_rank_seed=True)  # or all processes would draw the same masks
