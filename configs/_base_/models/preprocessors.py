# How the hosts hand images over: RGB with the statistics of ImageNet, sides that are multiples of 32 px.
statistics = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
det_preprocessor = dict(type='DetDataPreprocessor', **statistics, pad_size_divisor=32)
seg_preprocessor = dict(
    type='SegDataPreProcessor',
    **statistics,
    pad_val=0,
    seg_pad_val=255,
    size_divisor=32,
    test_cfg=dict(size_divisor=32))
