# Cascade Mask R-CNN (Cai and Vasconcelos, 2018) with the heads of our Mask R-CNN: three box heads, each
# trained on the boxes of the one before, with a stricter overlap, regardless of class. Overlaps, deviations
# and stage weights are mmdet's; losses and numbers of proposals those of our Mask R-CNN.
_base_ = './mask-rcnn_hiera_fpn.py'
cascade = [
    dict(overlap=0.5, stds=[0.1, 0.1, 0.2, 0.2]),
    dict(overlap=0.6, stds=[0.05, 0.05, 0.1, 0.1]),
    dict(overlap=0.7, stds=[0.033, 0.033, 0.067, 0.067]),
]
model = dict(
    type='CascadeRCNN',
    roi_head=dict(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[
            dict(
                _base_.model.roi_head.bbox_head,
                reg_class_agnostic=True,
                bbox_coder=dict(
                    _base_.model.roi_head.bbox_head.bbox_coder, target_stds=stage['stds']))
            for stage in cascade
        ]),
    train_cfg=dict(rcnn=[
        dict(
            _base_.model.train_cfg.rcnn,
            assigner=dict(
                _base_.model.train_cfg.rcnn.assigner,
                pos_iou_thr=stage['overlap'],
                neg_iou_thr=stage['overlap'],
                min_pos_iou=stage['overlap'],
                match_low_quality=False)) for stage in cascade
    ]))
