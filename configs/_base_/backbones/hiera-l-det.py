# HieraDet-L after "Window Attention is Bugged" (Bolya et al., 2024): windows as large as their grids
# were in pretraining, the table of these tiled, with a part beside it that follows the image, and relative
# position in global blocks. The last two start at zero. Weights: MAE on ImageNet-1K (CC BY-NC 4.0).
backbone = dict(
    arch='large', init_cfg=dict(type='Pretrained', checkpoint='hiera_large_224.mae_in1k'))
channels = [144, 288, 576, 1152]
# The blocks are those of SAM 2's trunk of this depth; the paper's were not readable.
windows = dict(
    window_spec=(8, 4, 14, 7),
    global_att_blocks=(23, 33, 43),
    pos_embed=dict(resize='tile', global_size=(7, 7)),
    rel_pos=(256, 256))
