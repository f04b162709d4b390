# HieraDet-L after "Window Attention is Bugged" (Bolya et al., 2024): in stages 3 and 4 windows as large
# as the grids were in pretraining, the position table tiled; beside it a part that follows the image, and
# relative position in global blocks, both from zero. Weights of a masked autoencoder on ImageNet-1K.
# Licence: CC BY-NC 4.0.
# Written by tools/zoo/leaves.py.
backbone = dict(
    arch='large',
    init_cfg=dict(type='Pretrained', checkpoint='hiera_large_224.mae_in1k'))
channels = [144, 288, 576, 1152]
# The blocks are those of SAM 2's trunk of this depth; the paper's were not readable.
windows = dict(
    window_spec=(8, 4, 14, 7),
    global_att_blocks=(23, 33, 43),
    pos_embed=dict(resize='tile', global_size=(7, 7)),
    rel_pos=(256, 256))
