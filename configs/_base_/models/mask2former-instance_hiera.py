# Mask2Former for instances, in MMDetection.
_base_ = ['./mask2former_head.py', './preprocessors.py']
things = 80
model = dict(
    type='Mask2Former',
    data_preprocessor=dict(_base_.det_preprocessor, pad_mask=True),
    backbone=dict(type='hiera_dense.HieraBackbone', arch='base'),
    panoptic_head=dict(
        **_base_.mask2former_head,
        num_things_classes=things,
        num_stuff_classes=0,
        loss_cls=dict(_base_.loss_cls, class_weight=[1.0] * things + [0.1])),
    panoptic_fusion_head=dict(
        type='MaskFormerFusionHead',
        num_things_classes=things,
        num_stuff_classes=0,
        loss_panoptic=None,
        init_cfg=None),
    train_cfg=_base_.mask2former_train_cfg,
    test_cfg=dict(
        panoptic_on=False,
        semantic_on=False,
        instance_on=True,
        max_per_image=100,
        iou_thr=0.8,
        filter_low_score=True))
