# Mask2Former for semantic segmentation, in MMSegmentation; needs MMDetection as well.
_base_ = ['./mask2former_head.py', './preprocessors.py']
classes = 150
data_preprocessor = _base_.seg_preprocessor  # also read by tools of mmseg
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(type='hiera_dense.HieraBackbone', arch='base'),
    decode_head=dict(
        **_base_.mask2former_head,
        num_classes=classes,
        align_corners=False,
        loss_cls=dict(_base_.loss_cls, class_weight=[1.0] * classes + [0.1]),
        train_cfg=_base_.mask2former_train_cfg),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
