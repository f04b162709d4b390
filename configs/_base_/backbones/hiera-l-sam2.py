# HieraDet-L, the trunk of SAM 2.1 with its weights, trained at 1024 x 1024 px. Licence: Apache-2.0.
# Written by tools/zoo/leaves.py.
backbone = dict(
    arch='sam2_large',
    init_cfg=dict(type='Pretrained', checkpoint='sam2.1_hiera_large'))
channels = [144, 288, 576, 1152]
windows = dict()  # its own, three global blocks among them
