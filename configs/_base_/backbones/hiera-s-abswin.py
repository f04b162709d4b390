# timm's Hiera-S with absolute win, weights of a classifier of ImageNet-12K and -1K (Apache-2.0).
backbone = dict(
    arch='small_abswin',
    init_cfg=dict(
        type='Pretrained', checkpoint='hiera_small_abswin_256.sbb2_e200_in12k_ft_in1k'))
channels = [96, 192, 384, 768]
windows = dict(window_spec='auto', global_att_blocks=(7, 10, 13))  # as for Hiera-S
