# COCO 2017 with large-scale jitter, evaluated without padding to a square: mmdet's Mask2Former cuts its
# masks to `img_shape`, of which `Pad` makes the padded one.
_base_ = './coco_instance_lsj.py'
test_pipeline = [step for step in _base_.test_pipeline if step.type != 'Pad']
train_dataloader = dict(batch_size=2)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type='TestTimeAug',
        transforms=[
            views for views in _base_.tta_pipeline[1].transforms if views[0].type != 'Pad'
        ]),
]
