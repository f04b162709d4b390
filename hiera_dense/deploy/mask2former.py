"""Mask2Former as graphs that torch.export traces for any image size, for instances and for classes.

See `graph.py` for what a twin takes and gives. Masks are logits here, at stride 4: the hosts resize
logits, and take what is above 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiera_dense.deploy.attention import (
    attend,
    attend_deformably,
    cell_centres,
    counts_of,
    require_attention,
    sine_position,
)
from hiera_dense.deploy.graph import Size
from hiera_dense.deploy.refusing import require_at_most, require_kind, require_whole
from hiera_dense.errors import SetupError


def pixel_decoder(decoder: Any, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Forward of `MSDeformAttnPixelDecoder`.

    Args:
        decoder: It.
        maps: Of the backbone, from high resolution to low.

    Returns:
        The map for masks, and maps from low resolution to high.
    """
    levels = decoder.num_encoder_levels
    maps = maps[: decoder.num_input_levels]
    tokens, positions, centres, grids = [], [], [], list[Size]()
    for i, image in enumerate(maps[: -levels - 1 : -1]):
        height, width = image.shape[-2:]
        grids.append((height, width))
        tokens.append(decoder.input_convs[i](image).flatten(2).transpose(1, 2))
        place = sine_position(decoder.postional_encoding, counts_of(height), counts_of(width))
        positions.append(place + decoder.level_encoding.weight[i])
        centres.append(cell_centres(grids[-1], height, width))
    query, position = torch.cat(tokens, 1), torch.cat(positions, 1)
    references = torch.cat(centres, 1)[:, :, None]
    for layer in decoder.encoder.layers:
        query = encoder_layer(layer, query, position, grids, references)
    parts = torch.split(query.transpose(1, 2), [height * width for height, width in grids], dim=2)
    outs = [
        part.reshape(1, part.shape[1], height, width)
        for part, (height, width) in zip(parts, grids, strict=True)
    ]
    for i in range(len(maps) - levels - 1, -1, -1):
        lateral = decoder.lateral_convs[i](maps[i])
        upper = F.interpolate(outs[-1], lateral.shape[-2:], mode="bilinear", align_corners=False)
        outs.append(decoder.output_convs[i](lateral + upper))
    return decoder.mask_feature(outs[-1]), outs[: decoder.num_outs]


def encoder_layer(
    layer: Any,
    query: Tensor,
    position: Tensor,
    grids: Sequence[Size],
    references: Tensor,
    is_padding: Tensor | None = None,
) -> Tensor:
    """Forward of `DeformableDetrTransformerEncoderLayer`."""
    query = attend_deformably(
        layer.self_attn, query, position, query, grids, references, is_padding
    )
    out: Tensor = layer.norms[1](layer.ffn(layer.norms[0](query)))
    return out


def queries(head: Any, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Forward of `Mask2FormerHead` without the predictions of all layers but the last.

    Args:
        head: It.
        maps: Of the backbone, from high resolution to low.

    Returns:
        Of each query the logits of classes and of no object, shape (queries, classes + 1), and
        those of its mask, shape (queries, h, w) at the stride of the first map.
    """
    features, memories = pixel_decoder(head.pixel_decoder, maps)
    keys, positions, grids = [], [], list[Size]()
    for i, memory in enumerate(memories):
        height, width = memory.shape[-2:]
        grids.append((height, width))
        key = head.decoder_input_projs[i](memory).flatten(2).transpose(1, 2)
        keys.append(key + head.level_embed.weight[i])
        encoding = head.decoder_positional_encoding
        positions.append(sine_position(encoding, counts_of(height), counts_of(width)))
    query, place = head.query_feat.weight[None], head.query_embed.weight[None]
    _, height, width = features.shape[1:]
    flat = features[0].flatten(1)

    def masks_of(normed: Tensor) -> Tensor:
        embedded: Tensor = head.mask_embed(normed)
        return torch.reshape(embedded[0] @ flat, (normed.shape[1], height, width))

    decoder = head.transformer_decoder
    levels = head.num_transformer_feat_level
    masks = masks_of(decoder.post_norm(query))
    for i, layer in enumerate(decoder.layers):
        level = i % levels
        small = F.interpolate(masks[None], grids[level], mode="bilinear", align_corners=False)
        blocked = small[0].flatten(1) < 0
        # A query that would see nothing sees everything.
        blocked = blocked & ~blocked.all(1, keepdim=True)
        query = attend(layer.cross_attn, query, place, keys[level], positions[level], blocked)
        query = layer.norms[0](query)
        query = layer.norms[1](attend(layer.self_attn, query, place, query, place))
        query = layer.norms[2](layer.ffn(query))
        normed = decoder.post_norm(query)
        masks = masks_of(normed)
    return head.cls_embed(normed)[0], masks


class Mask2FormerInstances(nn.Module):
    """Mask2Former of MMDetection, for instances.

    Args:
        model: `Mask2Former`, trained.
    """

    masks = "image"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.eval()
        self.head = model.panoptic_head
        self.kept = kept_of(model)
        fusion = model.panoptic_fusion_head
        self.things: int = fusion.num_things_classes
        self.has_stuff: bool = fusion.num_stuff_classes > 0

    def forward(self, image: Tensor, size: Size) -> dict[str, Tensor]:
        """Objects, best class first.

        `scores` are those of the class times the mean of the mask's probabilities above 0.5 at the
        resolution of the image; `class_scores` those of the class alone, for another resolution.
        """
        classes, masks = queries(self.head, self.model.extract_feat(image))
        shares = classes.softmax(-1)[:, :-1]
        number = shares.shape[1]
        class_scores, best = shares.flatten().topk(self.kept)
        if self.has_stuff:
            kept = (best % number < self.things).nonzero()[:, 0]
            class_scores, best = class_scores[kept], best[kept]
        labels = best % number
        masks = masks[best // number]
        boxes, quality = boxes_and_quality(masks, image.shape[-2:], size)
        return dict(
            boxes=boxes,
            scores=class_scores * quality,
            labels=labels,
            masks=masks,
            class_scores=class_scores,
        )


def boxes_and_quality(masks: Tensor, shape: Sequence[int], size: Size) -> tuple[Tensor, Tensor]:
    """Boxes around masks and the mean probability in them, at the resolution of the image.

    Args:
        masks: Logits, shape (n, h, w).
        shape: Height and width of the image.
        size: Those without padding; masks in the padding do not count.

    Returns:
        Boxes, (n, 4), zeros for an empty mask; means, (n,).
    """
    height, width = shape
    large = F.interpolate(masks[None], (height, width), mode="bilinear", align_corners=False)[0]
    ys, xs = torch.arange(height), torch.arange(width)
    inside = (ys < size[0])[:, None] & (xs < size[1])
    found = ((large > 0) & inside).float()
    quality = (large.sigmoid() * found).flatten(1).sum(1) / (found.flatten(1).sum(1) + 1e-6)
    sides = []
    for places, hit in ((xs, found.amax(1)), (ys, found.amax(2))):
        # Where a mask has no pixel, both ends are 0.
        last = ((places + 1) * hit).amax(1)
        first = last - ((last[:, None] - places) * hit).amax(1)
        sides.append((first, last))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=1), quality


class Mask2FormerClasses(nn.Module):
    """Mask2Former of MMSegmentation: `EncoderDecoder` with `Mask2FormerHead`.

    Args:
        model: It, trained.
    """

    masks = None

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, image: Tensor, size: Size) -> dict[str, Tensor]:
        """Logits of classes, for the whole image."""
        classes, masks = queries(self.model.decode_head, self.model.extract_feat(image))
        height, width = image.shape[-2:]
        large = F.interpolate(masks[None], (height, width), mode="bilinear", align_corners=False)[0]
        shares = classes.softmax(-1)[:, :-1]
        logits = shares.t() @ large.sigmoid().flatten(1)
        return {"logits": logits.reshape(1, shares.shape[1], height, width)}


def twin(model: Any, cfg: Mapping[str, Any]) -> nn.Module:
    """The twin of a `Mask2Former`, or of an `EncoderDecoder` with a `Mask2FormerHead`.

    Raises:
        SetupError: It cannot be exported.
    """
    if not hasattr(model, "panoptic_head"):
        require_whole(model.test_cfg)
        _require_head("decode_head", model.decode_head)
        return Mask2FormerClasses(model)
    _require_head("panoptic_head", model.panoptic_head)
    require_kind("panoptic_fusion_head", model.panoptic_fusion_head, "MaskFormerFusionHead")
    test_cfg = model.panoptic_fusion_head.test_cfg
    if not test_cfg.get("instance_on", False):
        raise SetupError("test_cfg.instance_on False; expected True: instances are exported")
    head = model.panoptic_head
    require_at_most("test_cfg.max_per_image", kept_of(model), head.num_queries * head.num_classes)
    return Mask2FormerInstances(model)


def kept_of(model: Any) -> int:
    """How many objects of an image a `Mask2Former` keeps."""
    return int(model.panoptic_fusion_head.test_cfg.get("max_per_image", 100))


def _require_head(name: str, head: Any) -> None:
    require_kind(name, head, "Mask2FormerHead")
    require_kind(f"{name}.pixel_decoder", head.pixel_decoder, "MSDeformAttnPixelDecoder")
    for layer in head.transformer_decoder.layers:
        for part in ("cross_attn", "self_attn"):
            require_attention(f"{name}.transformer_decoder.{part}_cfg", getattr(layer, part))
