# Hiera-S, weights of a masked autoencoder on ImageNet-1K. Licence: CC BY-NC 4.0.
# Written by tools/zoo/leaves.py.
backbone = dict(
    arch='small',
    init_cfg=dict(type='Pretrained', checkpoint='hiera_small_224.mae_in1k'))
channels = [96, 192, 384, 768]
# In place of global attention in all of stages 3 and 4, for images of detection: windows that follow
# the image, and three global blocks, at the places of SAM 2's trunk of this depth. Our choice; one, the
# last, takes less time (docs/windows.md).
windows = dict(window_spec='auto', global_att_blocks=(7, 10, 13))
