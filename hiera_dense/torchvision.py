"""Hiera with a feature pyramid, as the backbone of torchvision's detectors.

    from torchvision.models.detection import MaskRCNN
    detector = MaskRCNN(hiera_fpn_backbone("tiny"), num_classes=5)

The counterpart of `torchvision.models.detection.backbone_utils.resnet_fpn_backbone`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

from hiera_dense.errors import SetupError
from hiera_dense.model.checks import is_int, require_int, require_ints
from hiera_dense.model.freezing import freeze
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.layers import LayerNorm
from hiera_dense.weights.load import load_pretrained

_LAYERS = 5  # four stages, and the patch embedding with the position tables


class HieraFPN(nn.Module):
    """A trunk, a norm for each of its maps, and torchvision's feature pyramid.

    `hiera_fpn_backbone` builds it from the name of an arch.

    Args:
        trunk: Images are its input, not clips.
        returned_layers, trainable_layers, extra_blocks, norm_layer, out_channels: As for
            `hiera_fpn_backbone`.

    Attributes:
        out_channels: Channels of each map, which torchvision's detectors read.
    """

    def __init__(
        self,
        trunk: Hiera,
        returned_layers: Sequence[int],
        trainable_layers: int,
        extra_blocks: ExtraFPNBlock | None,
        norm_layer: Callable[..., nn.Module] | None,
        out_channels: int,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.out_channels = out_channels
        self._stages = tuple(layer - 1 for layer in returned_layers)
        self._frozen_stages = _LAYERS - 1 - trainable_layers  # -1: none
        dims = [trunk.arch.dims[stage] for stage in self._stages]
        self.norms = nn.ModuleList(LayerNorm(dim) for dim in dims)
        self.fpn = FeaturePyramidNetwork(
            dims, out_channels, extra_blocks or LastLevelMaxPool(), norm_layer
        )
        freeze(trunk, self._frozen_stages, self._stages[-1])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Compute the maps of the pyramid.

        Args:
            x: Images, shape (B, C_in, H, W), normalised; any H and W.

        Returns:
            By name, `"0"` and so on for the stages, further ones from `extra_blocks`: shape
            (B, out_channels, ceil(H / stride), ceil(W / stride)).
        """
        stages = self.trunk.forward_intermediates(
            x, self._stages, stop_early=True, output_fmt="NHWC", intermediates_only=True
        )
        maps = {
            str(i): norm(stage).movedim(-1, 1).contiguous()
            for i, (norm, stage) in enumerate(zip(self.norms, stages, strict=True))
        }
        levels: dict[str, Tensor] = self.fpn(maps)
        return levels

    def train(self, mode: bool = True) -> "HieraFPN":
        """Set the mode; what is frozen stays in eval mode."""
        super().train(mode)
        freeze(self.trunk, self._frozen_stages, self._stages[-1])
        return self


def hiera_fpn_backbone(
    arch: str | Mapping[str, Any],
    weights: str | Path | None = None,
    trainable_layers: int = _LAYERS,
    returned_layers: Sequence[int] = (1, 2, 3, 4),
    extra_blocks: ExtraFPNBlock | None = None,
    norm_layer: Callable[..., nn.Module] | None = None,
    out_channels: int = 256,
    permissive_only: bool = False,
    **trunk_options: Any,
) -> HieraFPN:
    """Build a trunk with a feature pyramid, with `resnet_fpn_backbone`'s arguments.

    Args:
        arch: As for `Hiera`, of images.
        weights: What the trunk is filled with, as for `load_pretrained`. None: random weights.
        trainable_layers: 0 to 5, counted from the end: the stages, then the patch embedding with
            the position tables. What is frozen gets no gradient and stays in eval mode.
        returned_layers: Stages whose maps the pyramid is built on, some of 1 to 4, in order.
        extra_blocks: Adds levels at the end. None: `LastLevelMaxPool`. RetinaNet and FCOS want
            `LastLevelP6P7(256, 256)`.
        norm_layer: Norm after each convolution of the pyramid. None: none.
        out_channels: Channels of each level.
        permissive_only: As for `load_pretrained`.
        **trunk_options: As for `Hiera`: `window_spec`, `drop_path_rate`, ...

    Raises:
        SetupError: A value is out of range.
        CheckpointError: The weights cannot be had, or do not fit.
    """
    require_ints("returned_layers", returned_layers, 1)
    if not returned_layers or list(returned_layers) != sorted(set(returned_layers) & {1, 2, 3, 4}):
        raise SetupError(
            f"returned_layers {tuple(returned_layers)}; expected some of 1 to 4, in order"
        )
    if not is_int(trainable_layers, 0) or trainable_layers > _LAYERS:
        raise SetupError(f"trainable_layers {trainable_layers!r}; expected 0 to {_LAYERS}")
    require_int("out_channels", out_channels, 1)
    trunk = Hiera(arch, **trunk_options)
    stages = len(trunk.arch.stages)
    if len(trunk.arch.mask_unit) != 2 or stages != _LAYERS - 1:
        raise SetupError(f"arch {arch!r}; expected one of images, with {_LAYERS - 1} stages")
    if weights is not None:
        load_pretrained(trunk, weights, permissive_only)
    return HieraFPN(
        trunk, returned_layers, trainable_layers, extra_blocks, norm_layer, out_channels
    )
