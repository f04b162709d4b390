"""Tokens in window layout, in any number of spatial dimensions.

A grid of tokens `(B, *grid, C)` is cut into windows, and each window becomes one row of the batch
dimension: `(B*nW, N, C)`, windows in row-major order, tokens of a window in row-major order. Where
windows do not divide the grid, it is padded with zeros at the end of each axis.

This takes the place of the "unroll" token order of the original implementation
(facebookresearch/hiera, `hiera_utils.py`; Ryali et al., ICML 2023).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

Size = tuple[int, ...]


def known(condition: bool) -> bool:
    """Whether a condition on sizes holds.

    While a graph is traced, True only if it holds for every size being traced; the False branch
    must be correct either way.
    """
    if torch.compiler.is_compiling():
        return statically_known_true(condition)
    return condition


def ceil_div(size: Size, by: Size) -> Size:
    """Divide axis by axis, rounding up."""
    return tuple((a + b - 1) // b for a, b in zip(size, by, strict=True))


@dataclass(frozen=True)
class Layout:
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
        pairs = zip(self.grid, self.window, strict=True)
        # Of a length that is not known while a graph is traced, nothing shows that n / n is 1.
        return tuple(1 if known(n == w) else (n + w - 1) // w for n, w in pairs)

    @property
    def padded_grid(self) -> Size:
        """Tokens per axis, padding included."""
        return tuple(n * w for n, w in zip(self.windows, self.window, strict=True))

    @property
    def is_whole(self) -> bool:
        """Whether no row is known to hold a token that is not in the grid."""
        return equal(self.padded_grid, self.grid)

    def is_same(self, other: "Layout") -> bool:
        """Whether tokens are known to lie as in another layout."""
        return equal(self.grid, other.grid) and equal(self.window, other.window)

    def pooled(self, stride: Size) -> "Layout":
        """The layout after `max_pool` with this stride."""
        return Layout(ceil_div(self.grid, stride), ceil_div(self.window, stride))


def equal(a: Size, b: Size) -> bool:
    """Whether two sizes are known to be equal."""
    if torch.compiler.is_compiling():
        return all(known(m == n) for m, n in zip(a, b, strict=True))
    return a == b


def _interleaved(outer: Size, inner: Size) -> Size:
    return tuple(n for pair in zip(outer, inner, strict=True) for n in pair)


def _pad_end(x: Tensor, size: Size, value: float = 0.0) -> Tensor:
    """Pad the spatial axes of `(B, *grid, C)` at their end."""
    grid = tuple(x.shape[1:-1])
    if equal(grid, size):
        return x
    ends = [new - old for old, new in zip(grid, size, strict=True)]
    pad = [0, 0, *(n for end in reversed(ends) for n in (0, end))]
    return F.pad(x, pad, value=value)


def crop(x: Tensor, size: Size, first: int) -> Tensor:
    """Keep the start of each spatial axis; `first` is the first of these axes."""
    for axis, length in enumerate(size, first):
        if known(x.shape[axis] == length):
            continue
        if torch.compiler.is_compiling():
            # A view would bind the graph to sizes that leave gaps in memory, or to others.
            x = x.index_select(axis, torch.arange(length, device=x.device))
        else:
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
    x = x.reshape(x.shape[0], *_interleaved(layout.windows, window), x.shape[-1])
    outer, inner = range(1, 2 * dims, 2), range(2, 2 * dims + 1, 2)
    x = x.permute(0, *outer, *inner, 2 * dims + 1)  # (B, *windows, *window, C)
    rows = x.shape[0] * math.prod(layout.windows)
    return x.reshape(rows, math.prod(window), x.shape[-1])  # (B*nW, N, C)


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
    x = x.reshape(x.shape[0], *layout.padded_grid, x.shape[-1])
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


def padding_mask(layout: Layout, batch: int, device: torch.device) -> Tensor | None:
    """Which tokens of a layout are padding.

    Args:
        layout: The layout of each image.
        batch: B, images.
        device: Where the mask is needed.

    Returns:
        Bool, shape (B*nW, N, 1), True where a token is not in the grid; None where none is padding.
    """
    if layout.is_whole:
        return None
    real = torch.ones(batch, *layout.grid, 1, dtype=torch.bool, device=device)
    return ~partition(real, layout.window)


def _pool(how: str, x: Tensor, window: Size, stride: Size, fill: float) -> Tensor:
    """Reduce each cell, axis by axis, which a CPU does faster than all axes at once."""
    pooled = ceil_div(window, stride)
    cells = x.reshape(x.shape[0], *window, x.shape[-1])
    cells = _pad_end(cells, tuple(n * s for n, s in zip(pooled, stride, strict=True)), fill)
    cells = cells.reshape(x.shape[0], *_interleaved(pooled, stride), x.shape[-1])
    for axis in range(2, 2 + len(window)):  # (R, a', sa, b', sb, C), then (R, a', b', sb, C), ...
        cells = getattr(cells, how)(axis)
    return cells.reshape(x.shape[0], -1, x.shape[-1])  # (R, N', C)


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
        x = x.masked_fill(padding, -math.inf)
    cells = _pool("amax", x, window, stride, -math.inf)
    return cells if padding is None else cells.masked_fill(cells == -math.inf, 0.0)


def mean_pool(x: Tensor, window: Size, stride: Size, padding: Tensor | None = None) -> Tensor:
    """Average inside each cell of a window; only real tokens take part.

    Arguments and result are those of `max_pool`.
    """
    real = torch.ones_like(x[..., :1])  # (R, N, 1)
    sums, counts = (_pool("sum", zero_padding(t, padding), window, stride, 0.0) for t in (x, real))
    return sums / counts.clamp(min=1)


def zero_padding(x: Tensor, padding: Tensor | None) -> Tensor:
    """Set padded tokens to zero.

    Args:
        x: Tokens in window layout, shape (R, N, C).
        padding: What `padding_mask` gives, shape (R, N, 1), or None.
    """
    return x if padding is None else x.masked_fill(padding, 0.0)


def rows_of(indices: Tensor, count: int) -> Tensor:
    """From indices of rows of each image to those of rows of the batch.

    Args:
        indices: Shape (B, n).
        count: Rows of an image.

    Returns:
        Shape (B*n,).
    """
    first = torch.arange(len(indices), device=indices.device)[:, None] * count
    return (first + indices).flatten()
