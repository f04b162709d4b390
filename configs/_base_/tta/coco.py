# Test-time augmentation for detectors trained on a square of 1024 px: three sizes, each as it is and
# turned over. Used by `hiera-dense evaluate --tta`. Sizes and NMS are our choice: not yet run.
tta_model = dict(
    type='hiera_dense.DetTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(side, side), keep_ratio=True)
                for side in (768, 1024, 1280)
            ],
            # Before the padding: boxes are turned back in the image without it.
            [dict(type='RandomFlip', prob=prob) for prob in (0., 1.)],
            [dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114, 114, 114)))],
            [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)],
            [
                dict(
                    type='PackDetInputs',
                    meta_keys=(
                        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
                        'flip_direction'))
            ],
        ])
]
