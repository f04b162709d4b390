"""Attention of the hosts' transformers, written so that torch.export traces it for any image size.

The functions take the hosts' trained modules and compute what these do, in eval mode, for a batch
of one image. `tokens` are of all levels, one level after the other; `grids` are the heights and
widths of the levels, which may be symbolic. Only standard operators of ONNX remain: the sampling
is `GridSample`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hiera_dense.deploy.graph import Size
from hiera_dense.deploy.refusing import require_value


def multi_scale_sample(
    value: Tensor, grids: Sequence[Size], places: Sequence[Tensor], weights: Tensor
) -> Tensor:
    """The sampling of multi-scale deformable attention: mmcv's `MultiScaleDeformableAttention`.

    Args:
        value: Shape (1, tokens, heads, channels).
        grids: Height and width of each level; together they have as many cells as there are tokens.
        places: For each level where it is sampled, shape (1, queries, heads, points, 2), as x and y
            in shares of its width and height.
        weights: Shape (1, queries, heads, levels, points).

    Returns:
        Shape (1, queries, heads * channels).
    """
    _, queries, heads, _, points = weights.shape
    channels = value.shape[-1]
    parts = torch.split(value, [height * width for height, width in grids], dim=1)
    samples = []
    for part, (height, width), place in zip(parts, grids, places, strict=True):
        image = part[0].permute(1, 2, 0).reshape(heads, channels, height, width)
        grid = 2 * place[0].transpose(0, 1) - 1
        samples.append(
            F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        )
    sampled = torch.stack(samples, dim=-2).flatten(-2)
    shares = weights[0].transpose(0, 1).reshape(heads, 1, queries, len(grids) * points)
    summed: Tensor = (sampled * shares).sum(-1)  # (heads, channels, queries)
    return summed.reshape(1, heads * channels, queries).transpose(1, 2)


def attend_deformably(
    module: Any,
    query: Tensor,
    position: Tensor,
    tokens: Tensor,
    grids: Sequence[Size],
    references: Tensor,
    is_padding: Tensor | None = None,
) -> Tensor:
    """Forward of a module `MultiScaleDeformableAttention` of mmcv.

    Args:
        module: It, with `batch_first`.
        query: Shape (1, queries, channels); it is added to what is returned.
        position: Added to the query where offsets and weights are computed.
        tokens: What is sampled, shape (1, tokens, channels).
        grids: See `multi_scale_sample`.
        references: Points x, y or boxes x, y, width, height in shares of a level, shape
            (1, queries, levels or 1, 2 or 4).
        is_padding: Which tokens are padding, shape (1, tokens); they are sampled as zeros.
    """
    heads, levels, points = module.num_heads, module.num_levels, module.num_points
    value = module.value_proj(tokens)
    if is_padding is not None:
        value = value.masked_fill(is_padding[..., None], 0.0)
    value = value.reshape(*value.shape[:2], heads, value.shape[2] // heads)
    placed = query + position
    offsets = module.sampling_offsets(placed).reshape(*query.shape[:2], heads, levels, points, 2)
    weights = module.attention_weights(placed)
    weights = weights.reshape(*query.shape[:2], heads, levels * points).softmax(-1)
    places = []
    for level, (height, width) in enumerate(grids):
        reference = references[:, :, min(level, references.shape[2] - 1), None, None]
        offset = offsets[:, :, :, level]
        if reference.shape[-1] == 2:
            across = torch.stack([offset[..., 0] / width, offset[..., 1] / height], dim=-1)
            places.append(reference + across)
        else:
            places.append(reference[..., :2] + offset / points * reference[..., 2:] * 0.5)
    weights = weights.reshape(*query.shape[:2], heads, levels, points)
    sampled = multi_scale_sample(value, grids, places, weights)
    attended: Tensor = module.output_proj(sampled)
    return attended + query


def require_attention(name: str, module: Any) -> None:
    """Refuse a module `MultiheadAttention` of mmcv with settings that `attend` does not compute.

    Raises:
        SetupError: It has such settings.
    """
    inner = module.attn
    require_value(f"{name}.bias", inner.in_proj_bias is not None, True)
    require_value(f"{name}.add_bias_kv", inner.bias_k is not None, False)
    require_value(f"{name}.add_zero_attn", inner.add_zero_attn, False)
    for side in ("kdim", "vdim"):
        require_value(f"{name}.{side}", getattr(inner, side), inner.embed_dim)


def attend(
    module: Any,
    query: Tensor,
    query_position: Tensor,
    key: Tensor,
    key_position: Tensor,
    blocked: Tensor | None = None,
) -> Tensor:
    """Forward of a module `MultiheadAttention` of mmcv, around that of torch; values are the keys.

    Args:
        module: It, with `batch_first`.
        query: Shape (1, queries, channels); it is added to what is returned.
        query_position: Added to queries before they are projected.
        key: Shape (1, keys, channels).
        key_position: Added to keys, but not to values.
        blocked: Which keys a query does not see, shape (queries, keys).
    """
    inner = module.attn
    heads, channels = inner.num_heads, inner.head_dim
    matrices = inner.in_proj_weight.chunk(3)
    biases = inner.in_proj_bias.chunk(3)
    inputs = (query + query_position, key + key_position, key)
    q, k, v = (
        F.linear(x[0], matrix, bias).reshape(x.shape[1], heads, channels).transpose(0, 1)
        for x, matrix, bias in zip(inputs, matrices, biases, strict=True)
    )
    scores = (q * channels**-0.5) @ k.transpose(1, 2)
    if blocked is not None:
        scores = scores.masked_fill(blocked, float("-inf"))
    attended: Tensor = inner.out_proj((scores.softmax(-1) @ v).transpose(0, 1).flatten(1))
    return attended[None] + query


def sine_position(module: Any, ys: Tensor, xs: Tensor) -> Tensor:
    """Forward of `SinePositionalEncoding` of MMDetection.

    Args:
        module: It.
        ys: The count of rows up to each row; the last is the number of rows that are no padding.
        xs: Likewise of columns.

    Returns:
        Shape (1, rows * columns, channels).
    """
    exponents = torch.arange(module.num_feats, dtype=torch.float32) // 2 * 2 / module.num_feats
    periods = module.temperature**exponents
    encoded = []
    for counts in (ys, xs):
        if module.normalize:
            counts = (counts + module.offset) / (counts[-1:] + module.eps) * module.scale
        angles = counts[:, None] / periods
        encoded.append(torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], -1).flatten(1))
    y, x = encoded
    height, width = ys.shape[0], xs.shape[0]
    both = (y[:, None].expand(height, width, -1), x[None].expand(height, width, -1))
    return torch.cat(both, dim=-1).reshape(1, height * width, 2 * module.num_feats)


def counts_of(length: int) -> Tensor:
    """1, 2, ..., length, as float32."""
    return torch.arange(1, length + 1, dtype=torch.float32)


def cell_centres(grid: Size, rows: Tensor | int, columns: Tensor | int) -> Tensor:
    """Centres x, y of a grid's cells, shape (1, cells, 2).

    Args:
        grid: Height and width.
        rows: The number of rows that have the length 1.
        columns: Likewise.
    """
    height, width = grid
    ys = (torch.arange(height, dtype=torch.float32) + 0.5) / rows
    xs = (torch.arange(width, dtype=torch.float32) + 0.5) / columns
    both = (xs[None].expand(height, width), ys[:, None].expand(height, width))
    return torch.stack(both, dim=-1).reshape(1, height * width, 2)
