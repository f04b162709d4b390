"""Tokens in window layout, in any number of spatial dimensions.

A grid of tokens `(B, *grid, C)` is cut into windows, and each window becomes one row of the batch
dimension: `(B*nW, N, C)`, windows in row-major order, tokens of a window in row-major order. Where
windows do not divide the grid, it is padded with zeros at the end of each axis.

This takes the place of the "unroll" token order of the original implementation
(facebookresearch/hiera, `hiera_utils.py`; Ryali et al., ICML 2023).
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, ...]


def ceil_div(size: Size, by: Size) -> Size:
    """Divide axis by axis, rounding up."""
    return tuple(-(-a // b) for a, b in zip(size, by, strict=True))


class Layout(NamedTuple):
    """How a grid of tokens lies in rows.

    Attributes:
        grid: Real tokens per axis.
        window: Tokens of one row per axis, padding included.
    """

    grid: Size
    window: Size

    @property
    def windows(self) -> Size:
        """Windows per axis."""
        return ceil_div(self.grid, self.window)

    @property
    def padded_grid(self) -> Size:
        """Tokens per axis, padding included."""
        return tuple(n * w for n, w in zip(self.windows, self.window, strict=True))

    @property
    def is_padded(self) -> bool:
        """Whether some row holds tokens that are not in the grid."""
        return self.padded_grid != self.grid

    def pooled(self, stride: Size) -> "Layout":
        """The layout after `max_pool` with this stride."""
        return Layout(ceil_div(self.grid, stride), ceil_div(self.window, stride))


def _interleaved(outer: Size, inner: Size) -> Size:
    return tuple(n for pair in zip(outer, inner, strict=True) for n in pair)


def _pad_end(x: Tensor, size: Size, value: float = 0.0) -> Tensor:
    """Pad the spatial axes of `(B, *grid, C)` at their end."""
    grid = x.shape[1:-1]
    if tuple(grid) == size:
        return x
    ends = [new - old for old, new in zip(grid, size, strict=True)]
    pad = [0, 0, *(n for end in reversed(ends) for n in (0, end))]
    return F.pad(x, pad, value=value)


def crop(x: Tensor, size: Size, first: int) -> Tensor:
    """Keep the start of each spatial axis; `first` is the first of these axes."""
    for axis, length in enumerate(size, first):
        x = x.narrow(axis, 0, length)
    return x


def partition(x: Tensor, window: Size) -> Tensor:
    """Cut a grid of tokens into windows, with zeros where they reach over its end.

    Args:
        x: Tokens, shape (B, *grid, C).
        window: Tokens per window and axis.

    Returns:
        Tokens in window layout, shape (B*nW, N, C).
    """
    layout = Layout(tuple(x.shape[1:-1]), window)
    dims = len(window)
    x = _pad_end(x, layout.padded_grid)
    x = x.reshape(len(x), *_interleaved(layout.windows, window), x.shape[-1])
    outer, inner = range(1, 2 * dims, 2), range(2, 2 * dims + 1, 2)
    x = x.permute(0, *outer, *inner, 2 * dims + 1)  # (B, *windows, *window, C)
    return x.reshape(-1, math.prod(window), x.shape[-1])  # (B*nW, N, C)


def unpartition(x: Tensor, layout: Layout) -> Tensor:
    """Put windows back into a grid and cut the padding off. Inverse of `partition`.

    Args:
        x: Tokens in window layout, shape (B*nW, N, C).
        layout: The layout that x is in.

    Returns:
        Tokens, shape (B, *grid, C).
    """
    windows, window = layout.windows, layout.window
    dims = len(window)
    x = x.reshape(-1, *windows, *window, x.shape[-1])
    order = _interleaved(tuple(range(1, 1 + dims)), tuple(range(1 + dims, 1 + 2 * dims)))
    x = x.permute(0, *order, 2 * dims + 1)  # (B, nH, h, nW, w, C) for an image
    x = x.reshape(len(x), *layout.padded_grid, x.shape[-1])
    return crop(x, layout.grid, first=1)  # (B, *grid, C)


def relayout(x: Tensor, old: Layout, new: Layout) -> Tensor:
    """Move tokens from one layout of a grid to another one of the same grid.

    Args:
        x: Tokens, shape (B*nW, N, C), in the layout `old`.
        old, new: Layouts with equal grids.

    Returns:
        Tokens, shape (B*nW', N', C), in the layout `new`.
    """
    return partition(unpartition(x, old), new.window)


def padding_mask(layout: Layout, device: torch.device) -> Tensor | None:
    """Which tokens of a layout are padding.

    Returns:
        Bool, shape (nW, N, 1), True where a token is not in the grid; None where none is padding.
    """
    if not layout.is_padded:
        return None
    real = torch.ones(1, *layout.grid, 1, dtype=torch.bool, device=device)
    return ~partition(real, layout.window)


def _cells(x: Tensor, window: Size, stride: Size, fill: float) -> Tensor:
    """`(R, N, C)` to `(R, a', sa, b', sb, C)` for a window of a x b tokens, a' x b' cells."""
    pooled = ceil_div(window, stride)
    x = x.reshape(len(x), *window, x.shape[-1])
    x = _pad_end(x, tuple(n * s for n, s in zip(pooled, stride, strict=True)), fill)
    return x.reshape(len(x), *_interleaved(pooled, stride), x.shape[-1])


def max_pool(x: Tensor, window: Size, stride: Size, padding: Tensor | None = None) -> Tensor:
    """Max pool inside each window; only real tokens take part.

    Args:
        x: Tokens in window layout, shape (R, N, C).
        window: Tokens per window and axis. A side that the stride does not divide ends in a
            smaller cell.
        stride: Tokens per cell and axis.
        padding: What `padding_mask` gives. A padded token counts as minus infinity. A cell of
            padded tokens alone becomes 0: finite, and padding again.

    Returns:
        Tokens in window layout, shape (R, N', C).
    """
    if padding is not None:
        x = _mask(x, padding, -math.inf)
    cells = _cells(x, window, stride, -math.inf)
    x = cells.amax(_within_cell(window)).reshape(len(x), -1, x.shape[-1])
    return x if padding is None else x.masked_fill(x == -math.inf, 0.0)


def mean_pool(x: Tensor, window: Size, stride: Size, padding: Tensor | None = None) -> Tensor:
    """Average inside each cell of a window; only real tokens take part.

    Arguments and result are those of `max_pool`.
    """
    real = torch.ones_like(x[..., :1])  # (R, N, 1)
    sums, counts = (
        _cells(zero_padding(t, padding), window, stride, 0.0).sum(_within_cell(window))
        for t in (x, real)
    )
    return (sums / counts.clamp(min=1)).reshape(len(x), -1, x.shape[-1])


def _within_cell(window: Size) -> Size:
    """The axes of `_cells` that lie inside a cell."""
    return tuple(range(2, 2 * len(window) + 1, 2))


def _mask(x: Tensor, padding: Tensor, value: float) -> Tensor:
    x = x.reshape(-1, *padding.shape[:2], x.shape[-1])  # (B, nW, N, C)
    return x.masked_fill(padding, value).flatten(0, 1)


def zero_padding(x: Tensor, padding: Tensor | None) -> Tensor:
    """Set padded tokens to zero.

    Args:
        x: Tokens in window layout, shape (B*nW, N, C).
        padding: What `padding_mask` gives, shape (nW, N, 1), or None.
    """
    return x if padding is None else _mask(x, padding, 0.0)
