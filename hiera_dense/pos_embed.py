"""Learned position embeddings of the token grid.

- absolute: one table, as in Hiera (Ryali et al., ICML 2023; facebookresearch/hiera).
- absolute win: a table that follows the image plus one that repeats in every window, as in "Window
  Attention is Bugged" (Bolya et al., ICLR 2024; facebookresearch/sam2, `hieradet.py`).

Tables keep the size they were learned at; what they become on another grid is computed here.
"""

import torch.nn.functional as F
from torch import Tensor

from hiera_dense.windows import Size, ceil_div, crop


def resize(table: Tensor, grid: Size, antialias: bool = False) -> Tensor:
    """Interpolate a table to the grid of another image (bicubic).

    Args:
        table: Shape (1, C, *size).
        grid: Tokens per axis.
        antialias: Low-pass filter first where the grid is smaller than the table.

    Returns:
        Shape (1, C, *grid); the table itself where the size is the grid's already.
    """
    if tuple(table.shape[2:]) == grid:
        return table
    return F.interpolate(table, size=grid, mode="bicubic", antialias=antialias)


def tile(table: Tensor, grid: Size) -> Tensor:
    """Repeat a table over a grid, cut off at its end.

    Args:
        table: Shape (1, C, *size).
        grid: Tokens per axis; need not be a multiple of the size.

    Returns:
        Shape (1, C, *grid).
    """
    repeats = ceil_div(grid, tuple(table.shape[2:]))
    return crop(table.tile(1, 1, *repeats), grid, first=2)


def absolute(pos_embed: Tensor, size: Size, grid: Size, antialias: bool = False) -> Tensor:
    """The absolute position embedding of a grid.

    Args:
        pos_embed: Table, shape (1, prod(size), C), tokens in row-major order.
        size: Tokens per axis that the table was learned at.
        grid: Tokens per axis.
        antialias: See `resize`.

    Returns:
        Shape (1, *grid, C).
    """
    table = pos_embed.reshape(1, *size, -1).movedim(-1, 1)
    return resize(table, grid, antialias).movedim(1, -1)


def absolute_win(
    pos_embed: Tensor, pos_embed_window: Tensor, grid: Size, antialias: bool = False
) -> Tensor:
    """The absolute win position embedding of a grid.

    Args:
        pos_embed: Global part, shape (1, C, *size); follows the image.
        pos_embed_window: Window part, shape (1, C, *window); repeats in every window.
        grid: Tokens per axis.
        antialias: See `resize`; for the global part.

    Returns:
        Shape (1, *grid, C).
    """
    embed = resize(pos_embed, grid, antialias) + tile(pos_embed_window, grid)
    return embed.movedim(1, -1)
