"""Regions of two-stage detectors: anchors, boxes, NMS, and features that are pooled from them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def anchors(base: Tensor, stride: tuple[int, int], grid: Tensor) -> Tensor:
    """Anchors of a level, (cells * anchors, 4), as `AnchorGenerator` makes them."""
    rows, columns = grid.shape[2:]
    y = torch.arange(rows, dtype=torch.float32) * stride[1]
    x = torch.arange(columns, dtype=torch.float32) * stride[0]
    xs, ys = x[None].expand(rows, columns), y[:, None].expand(rows, columns)
    shifts = torch.stack([xs, ys, xs, ys], -1).reshape(-1, 1, 4)
    return (shifts + base[None]).reshape(-1, 4)


def decoded(coder: Any, boxes: Tensor, deltas: Tensor, limits: Tensor) -> Tensor:
    """Boxes moved by what a head predicts, (n, classes or 1, 4), as `DeltaXYWHBBoxCoder` does."""
    moves = deltas.reshape(deltas.shape[0], deltas.shape[1] // 4, 4)
    moves = moves * moves.new_tensor(coder.stds) + moves.new_tensor(coder.means)
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    centres, sides = (low + high) * 0.5, high - low
    bound = abs(math.log(16 / 1000))
    centres = centres + sides * moves[..., :2]
    sides = sides * moves[..., 2:].clamp(-bound, bound).exp()
    moved = torch.cat([centres - sides * 0.5, centres + sides * 0.5], -1)
    if not coder.clip_border:
        return moved
    return torch.minimum(moved.clamp(min=0), limits)


def suppressed(boxes: Tensor, scores: Tensor, groups: Tensor, cfg: Any, most: int) -> Tensor:
    """Places of the boxes that overlap no better one of their group, best first; `batched_nms`."""
    from torchvision.ops import nms

    corner = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max()
    apart = boxes
    if not cfg.get("class_agnostic", False):
        apart = boxes + (groups.to(boxes) * (corner + 1))[:, None]
    kept: Tensor = nms(apart, scores, cfg["iou_threshold"])
    return kept[:most] if most > 0 else kept


def by_level(
    extractor: Any, maps: Sequence[Tensor], boxes: Tensor, more: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Features of regions, sorted by their level.

    Args:
        extractor: `SingleRoIExtractor`, or that in float32.
        maps: Of all levels.
        boxes: Shape (n, 4).
        more: Something else of each box, to be sorted likewise.

    Returns:
        Boxes, the other thing, and features (n, C, h, w), in one order.
    """
    from torchvision.ops import roi_align

    layers = extractor.roi_layers
    if len(layers) == 1:
        places = [torch.arange(boxes.shape[0], device=boxes.device)]
    else:
        scale = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
        level = (scale / extractor.finest_scale + 1e-6).log2().floor()
        level = level.clamp(0, len(layers) - 1)
        places = [(level == i).nonzero()[:, 0] for i in range(len(layers))]
    parts = []
    for layer, image, place in zip(layers, maps, places, strict=False):
        own = boxes[place]
        rois = torch.cat([torch.zeros_like(own[:, :1]), own], 1)
        parts.append(
            roi_align(
                image,
                rois,
                layer.output_size,
                layer.spatial_scale,
                layer.sampling_ratio,
                layer.aligned,
            )
        )
    order = torch.cat(places)
    return boxes[order], None if more is None else more[order], torch.cat(parts)
