"""The twin of a segmenter of MMSegmentation: an encoder and decoder, such as UperNet."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hiera_dense.deploy.graph import Size
from hiera_dense.deploy.refusing import require_whole
from hiera_dense.errors import SetupError

_POOLING = ("APCHead", "DMHead")  # by functions, which `with_any_pooling` cannot replace


class EncoderDecoder(nn.Module):
    """Backbone, neck and decode head.

    Args:
        model: An EncoderDecoder of mmseg.
    """

    masks = None

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.neck = model.neck if model.with_neck else None
        self.head = with_any_pooling(model.decode_head)

    def forward(self, image: Tensor, size: Size) -> dict[str, Tensor]:
        """Logits at the stride of the head."""
        maps = self.backbone(image)
        if self.neck is not None:
            maps = self.neck(maps)
        return {"logits": self.head(maps)}


class AnyAveragePooling(nn.Module):
    """`nn.AdaptiveAvgPool2d` for maps of any size, as two products of matrices.

    ONNX has no operator for it.

    Args:
        size: Of the output, height and width.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Averages over parts of maps (B, C, H, W)."""
        rows, columns = (
            _parts(length, parts, x) for length, parts in zip(x.shape[2:], self.size, strict=True)
        )
        return rows @ x @ columns.T


def _parts(length: int, parts: int, like: Tensor) -> Tensor:
    """The share of each position in each part, shape (parts, length)."""
    part = torch.arange(parts, device=like.device)[:, None]
    position = torch.arange(length, device=like.device)[None]
    starts, ends = part * length // parts, ((part + 1) * length + parts - 1) // parts
    is_in = (position >= starts) & (position < ends)
    return is_in.to(like.dtype) / (ends - starts).to(like.dtype)


def with_any_pooling(head: nn.Module) -> nn.Module:
    """The head; if it has adaptive pooling a copy of it, with layers that take any size."""
    if not any(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in head.modules()):
        return head
    head = copy.deepcopy(head)
    for parent in list(head.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.AdaptiveAvgPool2d):
                size: Any = layer.output_size
                sides = (size, size) if isinstance(size, int) else tuple(size)
                if None in sides:
                    raise SetupError(f"AdaptiveAvgPool2d({size}); expected two numbers")
                setattr(parent, name, AnyAveragePooling((sides[0], sides[1])))
    return head


def twin(model: Any, cfg: Mapping[str, Any]) -> nn.Module:
    """The twin of an EncoderDecoder.

    Raises:
        SetupError: It cannot be exported.
    """
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    require_whole(model.test_cfg)
    head = type(model.decode_head)
    own = [
        name
        for name in ("predict", "predict_by_feat")
        if getattr(head, name, None) is not getattr(BaseDecodeHead, name)
    ]
    if own:
        raise SetupError(
            f"decode_head {head.__name__} cannot be exported, since its {own[0]}() is its own; "
            "expected a head that predicts by its forward() alone"
        )
    if head.__name__ in _POOLING:
        raise SetupError(
            f"decode_head {head.__name__} cannot be exported, since its adaptive pooling is no "
            "layer; expected a head that pools by nn.AdaptiveAvgPool2d, or not at all"
        )
    return EncoderDecoder(model).eval()
