_base_ = './default_runtime.py'
default_scope = 'mmengine'
default_hooks = dict(checkpoint=dict(save_best='top1', rule='greater'))
visualizer = dict(type='Visualizer', vis_backends={{_base_.vis_backends}}, name='visualizer')
val_evaluator = dict(type='hiera_dense.Mean')
test_evaluator = val_evaluator
randomness = dict(seed=None, diff_rank_seed=True)  # or all processes would mix and drop alike
