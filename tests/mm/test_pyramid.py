"""The feature pyramid from one map: against a plain pyramid, its shapes, gradients and errors."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.common import randomize, relative_error, small_network
from torch import Tensor

from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.mm.pyramid import SimplePyramid
from hiera_dense.registry import MODELS


def pyramid(**kwargs: Any) -> SimplePyramid:
    return SimplePyramid(**{"in_channels": 32, "out_channels": 12, "num_outs": 5, **kwargs})


def channel_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    return scaled * weight[:, None, None] + bias[:, None, None]


def double(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each pixel becomes 2 x 2 pixels, each by a matrix of its own."""
    corners = torch.einsum("bchw,coij->bohiwj", x, weight)
    return corners.flatten(4, 5).flatten(2, 3) + bias[:, None, None]


def plain_pyramid(model: SimplePyramid, x: Tensor) -> list[Tensor]:
    """ViTDet's pyramid from the weights alone, which stand in their order."""
    maps = []
    for doublings, level in zip((3, 2, 1, 0), model.levels, strict=True):
        weights, y = iter(level.parameters()), x
        for i in range(doublings):
            y = F.gelu(channel_norm(y, next(weights), next(weights))) if i else y
            y = double(y, next(weights), next(weights))
        y = torch.einsum("bchw,ocij->bohw", y, next(weights))
        y = channel_norm(y, next(weights), next(weights))
        y = channel_norm(F.conv2d(y, next(weights), padding=1), next(weights), next(weights))
        assert next(weights, None) is None
        maps.append(y)
    return [*maps, maps[-1][:, :, ::2, ::2]]


def test_equals_a_plain_pyramid() -> None:
    model = pyramid().double()
    randomize(model)
    x = torch.randn(2, 32, 3, 4, dtype=torch.float64)
    for own, plain in zip(model((x,)), plain_pyramid(model, x), strict=True):
        assert relative_error(own, plain) < 1e-10


@pytest.mark.parametrize("size", [(64, 96), (50, 75)])
def test_shapes_behind_a_backbone_and_gradients(size: tuple[int, int]) -> None:
    arch = small_network(24, (1, 1, 1, 1))
    backbone = HieraBackbone(arch, out_indices=(3,))
    neck = MODELS.build(
        dict(type="hiera_dense.SimplePyramid", in_channels=192, out_channels=16, num_outs=6)
    )
    maps = neck(backbone(torch.randn(2, 3, *size)))
    padded = [math.ceil(n / 32) * 32 for n in size]
    assert [tuple(m.shape) for m in maps] == [
        (2, 16, *(math.ceil(n / stride) for n in padded)) for stride in (4, 8, 16, 32, 64, 128)
    ]
    sum(m.square().mul(torch.rand_like(m)).mean() for m in maps).backward()
    for model in (backbone, neck):
        unreached = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert not unreached


def test_regions_are_pooled_from_where_they_are() -> None:
    from mmcv.ops import roi_align as of_mmcv
    from torchvision.ops import roi_align as of_torchvision

    regions = torch.tensor([[0, 5.0, 9.0, 70.0, 100.0], [1, 40.0, 3.0, 120.0, 60.0]])
    maps = pyramid()((torch.randn(2, 32, 3, 4),))
    for scale, one in zip((1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64), maps, strict=True):
        pooled = of_mmcv(one, regions, (7, 7), scale, 0, "avg", True)
        theirs = of_torchvision(one, regions, (7, 7), scale, 0, aligned=True)
        assert relative_error(pooled, theirs) < 1e-6


@pytest.mark.parametrize("in_stride", [4, 8, 16])
def test_a_map_of_another_stride(in_stride: int) -> None:
    x = torch.randn(1, 32, 7, 5)
    maps = pyramid(in_stride=in_stride)((x,))
    for stride, own in zip((4, 8, 16, 32, 64), maps, strict=True):
        assert own.shape[2:] == tuple(math.ceil(n * in_stride / stride) for n in (7, 5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(in_channels=[96, 192]), r"in_channels \[96, 192\]; expected one int"),
        (dict(in_channels=20), "in_channels 20; .* multiple of 8"),
        (dict(num_outs=3), "num_outs 3; expected an int, 4 or more"),
        (dict(in_stride=64), "in_stride 64; expected one of"),
    ],
)
def test_values_that_do_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pyramid(**values)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.zeros(1, 32, 2, 2), "a tensor; expected a tuple of one map"),
        ((torch.zeros(1, 32, 2, 2),) * 4, r"4 maps; expected .* out_indices=\(3,\)"),
        ((torch.zeros(1, 16, 2, 2),), r"\(1, 16, 2, 2\); expected \(B, 32, h, w\)"),
    ],
)
def test_maps_that_do_not_fit(maps: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pyramid()(maps)
