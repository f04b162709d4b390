# What masked autoencoders and classifiers share: no host, measures that the model takes of each image.
_base_ = './default_runtime.py'
default_scope = 'mmengine'
visualizer = dict(type='Visualizer', vis_backends={{_base_.vis_backends}}, name='visualizer')
val_evaluator = dict(type='hiera_dense.Mean')
test_evaluator = val_evaluator
# Or all processes would draw the same masks, and mix and drop alike.
randomness = dict(seed=None, diff_rank_seed=True)
