"""Decomposed relative position in attention over a whole grid of tokens.

To the logit of query n and key m it adds q_n . R_h[y_n - y_m] + q_n . R_w[x_n - x_m], with a table
for each axis ("MViTv2", Li et al., CVPR 2022; "ViTDet", Li et al., ECCV 2022; detectron2,
`modeling/backbone/utils.py`). "Window Attention is Bugged" (Bolya et al., ICLR 2024) has it in
global attention only.

These numbers, one for each query and row or column of keys, are the product of the query and a key
that is 1 at its own row and column and 0 elsewhere. So they go behind the channels of queries and
keys, and the fused kernels take them: no bias of queries x keys is ever held.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hiera_dense.model import pos_embed as positions
from hiera_dense.model.attention import attention
from hiera_dense.model.windows import Size

_ALIGNED = 8  # what kernels want head dims to be multiples of


def relative_attention(
    q: Tensor, k: Tensor, v: Tensor, tables: tuple[Tensor, Tensor], grid: Size, stride: Size
) -> Tensor:
    """Scaled dot-product attention with relative position.

    Args:
        q: Queries, shape (B, nH, N', D), row by row: one for each cell of `stride` tokens, at the
            place of its first token.
        k, v: Keys and values, shape (B, nH, N, D), row by row.
        tables: One for each axis, shape (2 * size - 1, D), from the smallest y_n - y_m to the
            largest; for a grid of another size interpolated linearly.
        grid: Tokens per axis; N of them.
        stride: Tokens per axis of a cell; (1, 1): a query for each token.

    Returns:
        Shape (B, nH, N', D).
    """
    (height, width), dim = grid, q.shape[-1]
    spare = -(dim + height + width) % _ALIGNED
    rows, columns = (
        dim**0.5 * _between(table, length, step)  # since logits are scaled, but these are not
        for table, length, step in zip(tables, grid, stride, strict=True)
    )  # (H', H, D), (W', W, D)
    columns = F.pad(columns, (0, 0, 0, spare))
    cells = q.reshape(*q.shape[:2], rows.shape[0], columns.shape[0], dim)
    to_rows = torch.einsum("bnhwd,hkd->bnhwk", cells, rows)
    to_columns = torch.einsum("bnhwd,wkd->bnhwk", cells, columns)
    q = torch.cat((cells, to_rows, to_columns), -1).flatten(2, 3)

    on_row = torch.eye(height, dtype=k.dtype, device=k.device)[:, None].expand(-1, width, -1)
    on_column = torch.eye(width, width + spare, dtype=k.dtype, device=k.device)
    places = torch.cat((on_row, on_column.expand(height, -1, -1)), -1).flatten(0, 1)
    k = torch.cat((k, places.expand(*k.shape[:2], -1, -1)), -1)
    return attention(q, k, v, scale=dim**-0.5)


def _between(table: Tensor, length: int, step: int) -> Tensor:
    """The entry of a table for each query and key on an axis, shape (queries, keys, D)."""
    distances = positions.interpolate(table[None], (2 * length - 1,))[0]
    keys = torch.arange(length, device=table.device)
    return distances[keys[::step, None] - keys + length - 1]
