"""DINO as a graph that torch.export traces for any image size.

See `graph.py` for what a twin takes and gives.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hiera_dense.deploy.attention import (
    attend,
    attend_deformably,
    cell_centres,
    require_attention,
    sine_position,
)
from hiera_dense.deploy.graph import Size
from hiera_dense.deploy.mask2former import encoder_layer
from hiera_dense.deploy.refusing import require_at_most, require_kind, require_value
from hiera_dense.errors import SetupError

_FAR = 1e4  # its sigmoid is 1; finite in float16 too


class Dino(nn.Module):
    """DINO of MMDetection.

    Args:
        model: `DINO`, trained.
        strides: Of its feature maps.

    Attributes:
        cells: How many cells the maps of an image have at least, together, and their strides: each
            query begins as one of them.
    """

    masks = None

    def __init__(self, model: Any, strides: Sequence[int]) -> None:
        super().__init__()
        self.cells = dict(least=int(model.num_queries), strides=list(strides))
        self.model = model.eval()
        self.kept = kept_of(model)

    def forward(self, image: Tensor, size: Size) -> dict[str, Tensor]:
        """Objects, best first. Padding is not attended to."""
        model = self.model
        maps = model.extract_feat(image)
        tokens, position, levels = _flattened(model, maps, image.shape[-2:], size)
        for layer in model.encoder.layers:
            tokens = encoder_layer(
                layer,
                tokens,
                position,
                levels.grids,
                levels.centres[:, :, None] * levels.valid[:, None],
                levels.is_padding,
            )
        boxes = _proposals(model, tokens, levels)
        scores, boxes = _decoded(model, tokens, levels, boxes)
        scores, best = scores.sigmoid().flatten().topk(self.kept)
        classes = model.bbox_head.num_classes
        boxes = boxes[best // classes]
        x, y, width, height = boxes.unbind(1)
        sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        lengths = (size[1], size[0]) * 2
        # As shares of the image, since a bound must not be a symbol.
        clipped = [side.clamp(0, 1) * length for side, length in zip(sides, lengths, strict=True)]
        return {"boxes": torch.stack(clipped, 1), "scores": scores, "labels": best % classes}


class _Levels:
    """What is known of the feature maps.

    Attributes:
        grids: Height and width of each.
        valid: Width and height of what is no padding, in shares of each, shape (1, levels, 2).
        centres: Centres x, y of the cells in shares of what is no padding, shape (1, tokens, 2).
        is_padding: Which tokens are padding, shape (1, tokens).
        of_token: The level of each token, shape (tokens,).
    """

    def __init__(self, grids: Sequence[Size], shape: Sequence[int], size: Size) -> None:
        self.grids = grids
        valid, centres, padding, numbers = [], [], [], []
        self.rows, self.columns = [], []
        for level, (height, width) in enumerate(grids):
            # A cell is no padding if the pixel that nearest interpolation takes for it is none.
            ys = torch.arange(height) * shape[0] < size[0] * height
            xs = torch.arange(width) * shape[1] < size[1] * width
            self.rows.append(ys.cumsum(0).float())
            self.columns.append(xs.cumsum(0).float())
            padding.append(~(ys[:, None] & xs).reshape(1, height * width))
            bottom, right = self.rows[-1][-1], self.columns[-1][-1]
            valid.append(torch.stack([right / width, bottom / height]))
            centres.append(cell_centres((height, width), bottom, right))
            numbers.append(torch.full((1, height * width), float(level)))
        self.valid = torch.stack(valid)[None]
        self.centres = torch.cat(centres, 1)
        self.is_padding = torch.cat(padding, 1)
        self.of_token = torch.cat(numbers, 1)


def _flattened(
    model: Any, maps: Sequence[Tensor], shape: Sequence[int], size: Size
) -> tuple[Tensor, Tensor, _Levels]:
    """Tokens of all levels, their positions, and the levels: `pre_transformer` of DINO."""
    grids = [(image.shape[-2], image.shape[-1]) for image in maps]
    levels = _Levels(grids, shape, size)
    tokens = torch.cat([image.flatten(2).transpose(1, 2) for image in maps], 1)
    encoding = model.positional_encoding
    positions = [
        sine_position(encoding, rows, columns) + model.level_embed[i]
        for i, (rows, columns) in enumerate(zip(levels.rows, levels.columns, strict=True))
    ]
    return tokens, torch.cat(positions, 1), levels


def _proposals(model: Any, tokens: Tensor, levels: _Levels) -> Tensor:
    """The boxes of the tokens of highest score, one a query: `pre_decoder` of DINO.

    Returns:
        Centre, width and height in shares of the image, shape (1, queries, 4).
    """
    sides = (0.05 * 2.0**levels.of_token)[..., None].expand(-1, -1, 2)
    boxes = torch.cat([levels.centres, sides], dim=-1)
    is_left_out = levels.is_padding | ~((boxes > 0.01) & (boxes < 0.99)).all(-1)
    boxes = torch.log(boxes / (1 - boxes)).masked_fill(is_left_out[..., None], _FAR)
    memory = tokens.masked_fill(is_left_out[..., None], 0.0)
    memory = model.memory_trans_norm(model.memory_trans_fc(memory))
    last = model.decoder.num_layers
    scores = model.bbox_head.cls_branches[last](memory).amax(-1)
    refined = model.bbox_head.reg_branches[last](memory) + boxes
    best = scores[0].topk(model.num_queries).indices
    chosen: Tensor = refined[:, best].sigmoid()
    return chosen


def _decoded(model: Any, tokens: Tensor, levels: _Levels, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The decoder and the predictions of its last layer.

    Returns:
        Logits of classes, (queries, classes), and boxes, (queries, 4), in shares of the image.
    """
    decoder, head = model.decoder, model.bbox_head
    query = model.query_embedding.weight[None]
    scale = torch.cat([levels.valid, levels.valid], -1)[:, None]
    refined = boxes
    for layer, regression in zip(decoder.layers, head.reg_branches, strict=False):
        boxes = refined
        references = boxes[:, :, None] * scale
        place = decoder.ref_point_head(_encoded(references[:, :, 0], query.shape[-1]))
        query = layer.norms[0](attend(layer.self_attn, query, place, query, place))
        query = attend_deformably(
            layer.cross_attn, query, place, tokens, levels.grids, references, levels.is_padding
        )
        query = layer.norms[2](layer.ffn(layer.norms[1](query)))
        refined = (regression(query) + _inverse_sigmoid(boxes, 1e-3)).sigmoid()
    normed = decoder.norm(query)
    last = decoder.num_layers - 1
    refined = (head.reg_branches[last](normed) + _inverse_sigmoid(boxes, 1e-5)).sigmoid()
    return head.cls_branches[last](normed)[0], refined[0]


def _encoded(boxes: Tensor, channels: int) -> Tensor:
    """Sines and cosines of centre y, x, width and height: `coordinate_to_encoding`.

    Args:
        boxes: Shape (1, queries, 4).
        channels: Of each of the four.
    """
    exponents = torch.arange(channels, dtype=torch.float32) // 2 * 2 / channels
    angles = boxes[..., None] * (2 * torch.pi) / 10000**exponents
    encoded = torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], -1).flatten(-2)
    return encoded[..., [1, 0, 2, 3], :].flatten(-2)


def _inverse_sigmoid(share: Tensor, least: float) -> Tensor:
    share = share.clamp(0, 1)
    return torch.log(share.clamp(min=least) / (1 - share).clamp(min=least))


def twin(model: Any, cfg: Mapping[str, Any]) -> nn.Module:
    """The twin of a `DINO`.

    Raises:
        SetupError: It cannot be exported.
    """
    head = model.bbox_head
    require_kind("bbox_head", head, "DINOHead")
    require_value("bbox_head.loss_cls.use_sigmoid", head.loss_cls.use_sigmoid, True)
    require_value("decoder.return_intermediate", model.decoder.return_intermediate, True)
    for layer in model.decoder.layers:
        require_attention("decoder.layer_cfg.self_attn_cfg", layer.self_attn)
    require_at_most("test_cfg.max_per_img", kept_of(model), model.num_queries * head.num_classes)
    backbone = cfg.get("backbone") or {}
    return Dino(model, _strides(model, int(backbone.get("in_channels", 3))))


@torch.no_grad()
def _strides(model: Any, channels: int) -> list[int]:
    """The strides of the feature maps.

    Args:
        model: It.
        channels: Of its images.

    Raises:
        SetupError: The sides of a map are not those of the image divided by a stride, rounded up.
    """
    found: list[int] = []
    weight = next(model.backbone.parameters())
    for side in (256, 257):
        maps = model.extract_feat(weight.new_zeros(1, channels, side, side))
        sides = [int(one.shape[-1]) for one in maps]
        found = found or [side // each for each in sides]
        if sides != [-(-side // stride) for stride in found]:
            raise SetupError(
                f"feature maps of {sides} for an image of {side} px cannot be exported; expected "
                f"the side divided by {found}, rounded up"
            )
    return found


def kept_of(model: Any) -> int:
    """How many objects of an image a `DINO` keeps."""
    return int(model.bbox_head.test_cfg.get("max_per_img", model.num_queries))
