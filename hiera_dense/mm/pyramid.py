"""A feature pyramid from one map: `neck=dict(type='hiera_dense.SimplePyramid', ...)`.

"Exploring Plain Vision Transformer Backbones for Object Detection" (ViTDet; Li et al., ECCV 2022,
section 3; detectron2, `modeling/backbone/vit.py`). There the map has stride 16; the last stage of
Hiera has 32.
"""

import math
from collections.abc import Sequence
from typing import Any

from hiera_dense.registry import MODELS  # isort: split

import torch.nn.functional as F
from mmengine.model import BaseModule
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from hiera_dense.errors import SetupError
from hiera_dense.model.checks import is_int, require_int

_STRIDES = (4, 8, 16, 32)

# LayerNorm over the channels of (B, C, H, W) maps, which configs ask for in the RoI heads of
# ViTDet's recipe: neither mmcv nor mmdet register one. What it returns is contiguous in NHWC, so it
# must not be the last layer of a neck before RoI heads (see `SimplePyramid.forward`).
MODELS.register_module(name="LN2d", module=LayerNorm2d)


@MODELS.register_module()
class SimplePyramid(BaseModule):
    """Maps at strides 4, 8, 16, 32 and beyond, all made from one map.

    A finer level goes through deconvolutions that double the sides and halve the channels, a
    coarser one through max pooling, and each through a 1x1 and a 3x3 convolution with LayerNorm.
    Levels beyond stride 32 are every second pixel of the one before, as in mmdet's FPN.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels of each level.
        num_outs: Levels, 4 or more.
        in_stride: Stride of the map, in pixels: 4, 8, 16 or 32.
        init_cfg: mmengine's initialisation config. None: as PyTorch initialises, like ViTDet.

    Raises:
        SetupError: A value is none of these.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_outs: int,
        in_stride: int = 32,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        if in_stride not in _STRIDES:
            raise SetupError(f"in_stride {in_stride!r}; expected one of {_STRIDES}")
        halvings = in_stride // _STRIDES[0]
        if not is_int(in_channels, 1) or in_channels % halvings:
            raise SetupError(
                f"in_channels {in_channels!r}; expected one int, of one map, that is a multiple of "
                f"{halvings}: channels halve from stride {in_stride} to {_STRIDES[0]}"
            )
        require_int("out_channels", out_channels, 1)
        require_int("num_outs", num_outs, len(_STRIDES))
        self.in_channels = in_channels
        self.num_outs = num_outs
        self.levels = nn.ModuleList(
            _level(in_channels, out_channels, in_stride / stride) for stride in _STRIDES
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute the levels.

        Args:
            inputs: One map, shape (B, C_in, h, w), as a backbone gives it with one index in
                `out_indices`.

        Returns:
            Maps of shape (B, C_out, h * in_stride / stride, w * in_stride / stride), rounded up,
            stride 4, 8, ... That is ceil(H / stride) if the sides of the image are multiples of
            `in_stride`, as the hosts' preprocessors pad them; else finer levels reach beyond the
            end of the image as far as the map itself does. They are contiguous.

        Raises:
            SetupError: There is not one map, or it has other channels.
        """
        if isinstance(inputs, Tensor) or len(inputs) != 1:
            given = "a tensor" if isinstance(inputs, Tensor) else f"{len(inputs)} maps"
            raise SetupError(
                f"SimplePyramid got {given}; expected a tuple of one map, as from a backbone with "
                "out_indices=(3,)"
            )
        (x,) = inputs
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            expected = f"(B, {self.in_channels}, h, w)"
            raise SetupError(f"SimplePyramid got a map of {tuple(x.shape)}; expected {expected}")
        # The norms leave maps in NHWC, and mmcv's RoIAlign reads any map as if it were NCHW.
        maps = [level(x).contiguous() for level in self.levels]
        while len(maps) < self.num_outs:
            maps.append(F.max_pool2d(maps[-1], kernel_size=1, stride=2))
        return tuple(maps)


def _level(dim: int, dim_out: int, scale: float) -> nn.Sequential:
    """From the map to one level, whose sides are `scale` times as long."""
    layers: list[nn.Module] = []
    for i in range(round(math.log2(max(scale, 1)))):
        if i:
            layers += [LayerNorm2d(dim), nn.GELU()]
        layers.append(nn.ConvTranspose2d(dim, dim // 2, kernel_size=2, stride=2))
        dim //= 2
    if scale < 1:
        stride = round(1 / scale)
        layers.append(nn.MaxPool2d(stride, ceil_mode=True))
    return nn.Sequential(
        *layers,
        nn.Conv2d(dim, dim_out, kernel_size=1, bias=False),
        LayerNorm2d(dim_out),
        nn.Conv2d(dim_out, dim_out, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(dim_out),
    )
