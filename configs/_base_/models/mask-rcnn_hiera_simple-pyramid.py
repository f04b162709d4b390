# Our Mask R-CNN on ViTDet's simple pyramid (Li et al., 2022), made of the last stage alone.
_base_ = './mask-rcnn_hiera_fpn.py'
model = dict(
    backbone=dict(out_indices=(3, )),
    neck=dict(
        _delete_=True,
        type='hiera_dense.SimplePyramid',
        in_channels=768,
        out_channels=256,
        num_outs=5))
