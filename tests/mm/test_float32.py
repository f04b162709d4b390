"""RPN and RoI extractor: mmdet's in float32, and with exact boxes in half precision."""

import pytest
import torch

pytest.importorskip("mmdet")

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

SIZE = 1024
SIDES = (256, 128, 64, 32)
MAPS = [torch.randn(2, 8, each, each, generator=torch.manual_seed(0)) for each in SIDES]


def extractor(kind: str) -> torch.nn.Module:
    init_default_scope("mmdet")
    return MODELS.build(
        dict(
            type=kind,
            roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0),
            out_channels=8,
            featmap_strides=[4, 8, 16, 32],
        )
    )


def regions() -> torch.Tensor:
    """Of all levels, small ones in the far corner, where numbers are coarse."""
    corners = torch.rand(200, 2, generator=torch.manual_seed(1)) * 300 + 600
    sides = torch.logspace(0.5, 2.6, 200)[:, None] * torch.tensor([[1.0, 0.7]])
    boxes = torch.cat([corners, corners + sides], 1).clamp(max=SIZE)
    return torch.cat([torch.arange(200)[:, None] % 2, boxes], 1)


@pytest.mark.parametrize("factor", [None, 1.5])
def test_in_float32_it_is_mmdets(factor: float | None) -> None:
    ours, theirs = (extractor(k) for k in ("hiera_dense.Float32RoIExtractor", "SingleRoIExtractor"))
    maps = [each.clone().requires_grad_() for each in MAPS]
    rois = regions()
    found = []
    for each in (ours, theirs):
        pooled = each(maps, rois, factor)
        found.append([pooled, *torch.autograd.grad(pooled.square().sum(), maps)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_boxes_are_not_rounded_to_the_dtype_of_the_maps(dtype: torch.dtype) -> None:
    ours, theirs = (extractor(k) for k in ("hiera_dense.Float32RoIExtractor", "SingleRoIExtractor"))
    maps = [each.to(dtype) for each in MAPS]
    rois = regions()
    exact = theirs([each.float() for each in maps], rois)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = ours(maps, rois)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled, exact.to(dtype), rtol=0, atol=0)
    rounded = theirs([each.float() for each in maps], rois.to(dtype).float())
    assert (rounded - exact).abs().max() > 0.1  # what mmdet would pool


def test_gradients_reach_the_maps_in_their_dtype() -> None:
    maps = [each.bfloat16().requires_grad_() for each in MAPS]
    extractor("hiera_dense.Float32RoIExtractor")(maps, regions()).float().square().sum().backward()
    plain = [each.detach().float().requires_grad_() for each in maps]
    pooled = extractor("SingleRoIExtractor")(plain, regions())
    pooled.bfloat16().float().square().sum().backward()
    for one, other in zip(maps, plain, strict=True):
        assert one.grad is not None
        assert one.grad.dtype == torch.bfloat16
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad.bfloat16(), rtol=0, atol=0)


def rpn(kind: str) -> torch.nn.Module:
    init_default_scope("mmdet")
    head = dict(
        type=kind,
        in_channels=8,
        feat_channels=8,
        anchor_generator=dict(
            type="AnchorGenerator", scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32]
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True),
        loss_bbox=dict(type="L1Loss"),
        test_cfg=dict(nms_pre=500, max_per_img=100, nms=dict(type="nms", iou_threshold=0.7)),
    )
    torch.manual_seed(0)
    built = MODELS.build(ConfigDict(head))
    built.init_weights()
    return built


def test_proposals_are_mmdets_in_float32_and_not_rounded_in_bfloat16() -> None:
    samples = [DetDataSample(metainfo=dict(img_shape=(SIZE, SIZE), scale_factor=(1, 1)))] * 2
    ours, theirs = (rpn(kind) for kind in ("hiera_dense.Float32RPNHead", "RPNHead"))
    expected = theirs.predict(MAPS, samples)
    for one, other in zip(ours.predict(MAPS, samples), expected, strict=True):
        torch.testing.assert_close(one.bboxes, other.bboxes, rtol=0, atol=0)
        torch.testing.assert_close(one.scores, other.scores, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        found = ours.predict(MAPS, samples)[0].bboxes
        with pytest.raises(RuntimeError):  # mmcv's NMS; without it, boxes of 8 bits
            theirs.predict(MAPS, samples)
    assert found.dtype == torch.float32
    assert not torch.equal(found, found.bfloat16().float())
