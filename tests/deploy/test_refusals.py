"""Models that no graph would compute as the hosts do, refused by what they have."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from support.small_models import settings

from hiera_dense.deploy.export import twin_of
from hiera_dense.deploy.refusing import require_one_size
from hiera_dense.deploy.steps import one_size, steps_of
from hiera_dense.errors import SetupError
from hiera_dense.mm.backbone import HieraBackbone

Change = Callable[[ConfigDict], Any]
Built = Callable[..., Any]
MASK2FORMERS = [("instances", "panoptic_head"), ("classes", "decode_head")]


@pytest.fixture(scope="module")
def built(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A model of a kind, with a change of its config; without one, the same model each time."""
    folder = tmp_path_factory.mktemp("refused")
    configs: dict[str, Any] = {}
    models: dict[str, Any] = {}

    def build(kind: str, change: Change | None = None) -> Any:
        cfg = configs.setdefault(kind, settings(kind, toy, folder))
        if change is None and kind in models:
            return models[kind]
        model = copy.deepcopy(cfg.model)
        if change is not None:
            change(model)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            network = MODELS.build(model).eval()
        return network if change is not None else models.setdefault(kind, network)

    return build


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (
            "upernet",
            lambda m: m.test_cfg.update(mode="slide", crop_size=(32, 32), stride=(16, 16)),
            "test_cfg.mode 'slide'; expected 'whole'",
        ),
        (
            "upernet",
            lambda m: m.decode_head.update(
                type="APCHead", in_channels=128, in_index=3, pool_scales=(1, 2)
            ),
            "decode_head APCHead cannot be exported, .*adaptive pooling is no layer; expected",
        ),
        (
            "upernet",
            lambda m: (
                m.decode_head.update(type="DAHead", in_channels=128, in_index=3, pam_channels=8),
                m.decode_head.pop("pool_scales"),
            ),
            r"decode_head DAHead cannot be exported, since its predict\(\) is its own; expected",
        ),
        (
            "mask-rcnn",
            lambda m: m.test_cfg.rpn.nms.update(type="soft_nms"),
            "test_cfg.rpn.nms .*soft_nms.*; expected dict",
        ),
        (
            "mask-rcnn",
            lambda m: m.test_cfg.rcnn.nms.update(offset=1),
            "test_cfg.rcnn.nms .*'offset': 1.*; expected dict",
        ),
        ("mask-rcnn", lambda m: m.test_cfg.rpn.pop("nms"), "test_cfg.rpn.nms {}; expected dict"),
        (
            "mask-rcnn",
            lambda m: m.test_cfg.rpn.update(max_per_img=-1),
            "test_cfg.rpn.max_per_img -1; expected 1 or more",
        ),
        (
            "mask-rcnn",
            lambda m: m.test_cfg.rcnn.update(mask_thr_binary=-1),
            "test_cfg.rcnn.mask_thr_binary -1; expected 0 to 1",
        ),
        (
            "mask-rcnn",
            lambda m: m.roi_head.bbox_roi_extractor.roi_layer.update(pool_mode="max"),
            r"pool_mode=max.* of roi_extractor; expected RoIAlign that averages",
        ),
        (
            "mask-rcnn",
            lambda m: m.roi_head.bbox_roi_extractor.update(
                type="GenericRoIExtractor", aggregation="sum"
            ),
            "roi_extractor GenericRoIExtractor cannot be exported; expected SingleRoIExtractor or ",
        ),
        (
            "mask-rcnn",
            lambda m: m.rpn_head.bbox_coder.update(add_ctr_clamp=True),
            "bbox_coder.add_ctr_clamp=True; expected False",
        ),
        (
            "mask-rcnn",
            lambda m: m.roi_head.mask_head.update(
                upsample_cfg=dict(
                    type="carafe",
                    scale_factor=2,
                    up_kernel=5,
                    up_group=1,
                    encoder_kernel=3,
                    encoder_dilation=1,
                    compressed_channels=8,
                )
            ),
            "mask_head.upsample_cfg type 'carafe' cannot be exported; expected 'deconv'",
        ),
        (
            "mask-rcnn",
            lambda m: m.roi_head.bbox_head.update(
                loss_cls=dict(type="SeesawLoss", num_classes=4, p=0.8, q=2.0)
            ),
            "SeesawLoss of bbox_head has an activation of its own; expected CrossEntropyLoss",
        ),
        (
            "cascade",
            lambda m: m.roi_head.bbox_head[0].update(reg_class_agnostic=False),
            "reg_class_agnostic=False in a cascade; expected True",
        ),
        (
            "dino",
            lambda m: m.test_cfg.update(max_per_img=10_000),
            "test_cfg.max_per_img 10000; expected 120 at most .*queries, times that of classes",
        ),
        (
            "dino",
            lambda m: (
                m.bbox_head.pop("loss_cls"),
                m.bbox_head.update(loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False)),
            ),
            "bbox_head.loss_cls.use_sigmoid=False cannot be exported; expected True",
        ),
        (
            "dino",
            lambda m: m.decoder.update(return_intermediate=False),
            "decoder.return_intermediate=False cannot be exported; expected True",
        ),
        (
            "dino",
            lambda m: m.decoder.layer_cfg.self_attn_cfg.update(bias=False),
            "decoder.layer_cfg.self_attn_cfg.bias=False cannot be exported; expected True",
        ),
        (
            "instances",
            lambda m: m.test_cfg.update(instance_on=False),
            "test_cfg.instance_on False; expected True",
        ),
        (
            "instances",
            lambda m: m.test_cfg.update(max_per_image=1000),
            "test_cfg.max_per_image 1000; expected 120 at most",
        ),
        (
            "classes",
            lambda m: m.test_cfg.update(mode="slide", crop_size=(32, 32), stride=(16, 16)),
            "test_cfg.mode 'slide'; expected 'whole'",
        ),
    ],
)
def test_what_a_graph_would_not_honour_is_refused(
    kind: str, change: Change, message: str, built: Built
) -> None:
    with pytest.raises(SetupError, match=message):
        twin_of(built(kind, change), {})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (dict(bias=False), "bias=False cannot be exported; expected True"),
        (dict(add_bias_kv=True), "add_bias_kv=True cannot be exported; expected False"),
        (dict(add_zero_attn=True), "add_zero_attn=True cannot be exported; expected False"),
        (dict(kdim=128), "kdim=128 cannot be exported; expected 256"),
        (dict(vdim=128), "vdim=128 cannot be exported; expected 256"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "part"), [("instances", "panoptic_head"), ("classes", "decode_head")]
)
def test_attention_of_other_settings_is_refused(
    kind: str,
    part: str,
    setting: dict[str, Any],
    message: str,
    built: Built,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = built(kind)
    twin_of(model, {})
    layer = getattr(model, part).transformer_decoder.layers[-1]
    other = MultiheadAttention(256, 8, batch_first=True, **setting)
    monkeypatch.setitem(layer._modules, "cross_attn", other)
    with pytest.raises(SetupError, match=rf"{part}.transformer_decoder.cross_attn_cfg.{message}"):
        twin_of(model, {})


@pytest.mark.parametrize(
    ("kind", "part"), [("instances", "panoptic_head"), ("classes", "decode_head")]
)
def test_other_pixel_decoders_are_refused(
    kind: str, part: str, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmdet.models.layers import PixelDecoder

    model = built(kind)
    head = getattr(model, part)
    other = PixelDecoder([16, 32, 64, 128], 256, 256)
    monkeypatch.setitem(head._modules, "pixel_decoder", other)
    message = f"{part}.pixel_decoder PixelDecoder cannot be exported; expected MSDeformAttnPixelDec"
    with pytest.raises(SetupError, match=message):
        twin_of(model, {})


def test_models_of_other_kinds_are_refused(built: Built) -> None:
    from mmdet.models.detectors import RetinaNet

    model = RetinaNet.__new__(RetinaNet)
    with pytest.raises(SetupError, match="RetinaNet cannot be exported; expected DINO, Mask"):
        twin_of(model, {})


def test_windows_that_follow_the_image_need_one_size() -> None:
    arch = dict(embed_dim=16, num_heads=1, stages=(1, 1, 1, 1), global_att_blocks=(2,))
    backbone = HieraBackbone(arch, window_spec="auto")
    message = "window_spec 'auto' cannot be exported for images of any size: .*; expected a number"
    with pytest.raises(SetupError, match=message):
        require_one_size(backbone, None)
    assert require_one_size(backbone, (320, 640)) == (320, 640)
    assert require_one_size(HieraBackbone(arch), (320, 640)) is None


@pytest.mark.parametrize(
    ("transforms", "size"),
    [
        ([dict(type="Resize", scale=(640, 320))], (320, 640)),
        ([dict(type="Resize", scale=(640, 320), keep_ratio=True)], None),
        ([dict(type="Resize", scale=(640, 320)), dict(type="Pad", size=(672, 300))], (320, 672)),
        (
            [
                dict(type="Resize", scale=(640, 640), keep_ratio=True),
                dict(type="Pad", size=(640, 640)),
            ],
            (640, 640),
        ),
        (
            [
                dict(type="Resize", scale=(1333, 800), keep_ratio=True),
                dict(type="Pad", size=(1333, 800)),  # an upright image is higher
            ],
            None,
        ),
        ([], None),
    ],
)
def test_which_images_have_one_size(
    transforms: list[dict[str, Any]], size: tuple[int, int] | None
) -> None:
    assert one_size(steps_of(transforms)) == size
