"""Learned position embeddings of the token grid.

- absolute: one table, as in Hiera (Ryali et al., ICML 2023; facebookresearch/hiera).
- absolute win: a table that follows the image plus one that repeats in every window, as in "Window
  Attention is Bugged" (Bolya et al., ICLR 2024; facebookresearch/sam2, `hieradet.py`).
- separable: one table over the image plus one over time, for clips (facebookresearch/hiera).

Tables keep the size they were learned at; what they become on another grid is computed here.
"""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from hiera_dense.model.windows import (
    Layout,
    Size,
    ceil_div,
    crop,
    equal,
    known,
    partition,
    unpartition,
)


def resize(
    table: Tensor, grid: Size, unit: Size, method: str = "window_aware", antialias: bool = False
) -> Tensor:
    """Resize a table to the grid of another image.

    - `window_aware`: attention of the early stages sees one mask unit at a time, so a trained table
      repeats with it. What repeats is tiled, what varies over the image is interpolated:
      `window_aware` below.
    - `tile`: the whole table repeats, as in the paper's HieraDet: a window as large as the image
      of pretraining sees the positions that the image had there.
    - `interpolate`: the whole table is interpolated, which blurs what repeats.

    Args:
        table: Shape (1, *size, C).
        grid: Tokens per axis.
        unit: Tokens per axis of a mask unit.
        method: See above.
        antialias: See `interpolate`.

    Returns:
        Shape (1, *grid, C); the table itself where the size is the grid's already.
    """
    size = tuple(table.shape[1:-1])
    if equal(size, grid):
        return table
    if method == "tile":
        return tile(table, grid)
    if method == "interpolate":
        return interpolate(table, grid, antialias)
    resized = window_aware(table, grid, unit, antialias)
    if any(known(new != old) for new, old in zip(grid, size, strict=True)):
        return resized
    # A graph for any size is traced, also for the table's own, where interpolating changes nothing.
    lengths = [torch.ones(new, device=table.device).sum() for new in grid]
    own = torch.stack([there == old for there, old in zip(lengths, size, strict=True)]).all()
    return torch.where(own, interpolate(table, grid, antialias), resized)


def interpolate(table: Tensor, grid: Size, antialias: bool = False) -> Tensor:
    """Interpolate a table: linear over one axis, bicubic over two, trilinear over three.

    What `torch.nn.functional.interpolate` gives, axis by axis as products with its weights: several
    times faster, in the backward pass above all.

    Args:
        table: Shape (1, *size, C).
        grid: Tokens per axis.
        antialias: Bicubic as Pillow does it, with a low-pass filter where the grid is smaller than
            the table, and another kernel where it is larger. Over two axes only.

    Returns:
        Shape (1, *grid, C); the table itself where the size is the grid's already.
    """
    size = tuple(table.shape[1:-1])
    if equal(size, grid):
        return table
    with _exact(table):
        resized = table.to(torch.promote_types(table.dtype, torch.float32))
        for axis, (old, new) in enumerate(zip(size, grid, strict=True), 1):
            if not known(old == new):
                weights = _weights(resized.new_ones(old).diag(), new, len(grid) == 2, antialias)
                before, behind = resized.shape[:axis], resized.shape[axis + 1 :]
                rows = resized.reshape(math.prod(before), old, math.prod(behind))
                resized = (weights.T @ rows).reshape(*before, new, *behind)
        return resized.to(table.dtype)


def _exact(table: Tensor) -> AbstractContextManager[object]:
    """A context without autocast."""
    if table.is_meta:  # for which torch has none
        return nullcontext()
    return torch.autocast(table.device.type, enabled=False)


def _weights(identity: Tensor, length: int, cubic: bool, antialias: bool) -> Tensor:
    """How much of each entry is in each entry of the new length, shape (old length, length)."""
    old = len(identity)
    if not cubic:
        return F.interpolate(identity[None], size=length, mode="linear")[0]
    images = identity[None, None]
    return F.interpolate(images, size=(old, length), mode="bicubic", antialias=antialias)[0, 0]


def tile(table: Tensor, grid: Size) -> Tensor:
    """Repeat a table over a grid, cut off at its end.

    Args:
        table: Shape (1, *size, C).
        grid: Tokens per axis; need not be a multiple of the size.

    Returns:
        Shape (1, *grid, C).
    """
    repeats = ceil_div(grid, tuple(table.shape[1:-1]))
    return crop(table.tile(1, *repeats, 1), grid, first=1)


def split(table: Tensor, unit: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Read a table as the sum of three parts.

    The window part is the mean over the mask units, for each position in the unit. The global part
    is what the mean of each unit has beyond that. The rest is what a position in one unit has
    beyond both; in a table that is purely periodic, or constant in each unit, it is zero.

    Args:
        table: Shape (1, *size, C), a whole number of mask units.
        unit: Tokens per axis of a mask unit.

    Returns:
        Window part (1, *unit, C), global part (1, *units, C), rest (units, tokens of a unit, C).
    """
    tokens = partition(table, unit)  # (units, tokens of a unit, C)
    # Differences to one unit, not means, so that a periodic table stays so to the last bit.
    window = tokens[0] + (tokens - tokens[0]).mean(0)
    beyond = tokens - window
    means = beyond.mean(1, keepdim=True)  # (units, 1, C)
    units = ceil_div(tuple(table.shape[1:-1]), unit)
    channels = table.shape[-1]
    return window.view(1, *unit, channels), means.view(1, *units, channels), beyond - means


def window_aware(table: Tensor, grid: Size, unit: Size, antialias: bool = False) -> Tensor:
    """Resize a table part by part: see `split`.

    The window part is tiled and the global part interpolated. The rest is interpolated
    separately for each position in the unit, so values never mix between positions.

    Args:
        table: Shape (1, *size, C), a whole number of mask units.
        grid: Tokens per axis.
        unit: Tokens per axis of a mask unit.
        antialias: See `interpolate`.

    Returns:
        Shape (1, *grid, C).
    """
    window, means, rest = split(table, unit)
    old_units, new = tuple(means.shape[1:-1]), Layout(grid, unit)
    per_position = rest.reshape(1, *old_units, -1)  # (1, *units, tokens of a unit * C)
    rest = interpolate(per_position, new.windows, antialias).reshape(-1, *rest.shape[1:])
    tiled = unpartition(rest + window.flatten(0, -2), new)
    return tiled + interpolate(means, grid, antialias)


def as_absolute_win(table: Tensor, unit: Size) -> tuple[Tensor, Tensor]:
    """Turn an absolute table into the parameters of absolute win, for further training.

    What `split` calls the rest has no place in them and is left out.

    Args:
        table: Shape (1, *size, C), a whole number of mask units.
        unit: Tokens per axis of a mask unit.

    Returns:
        `pos_embed`, shape (1, C, *units), and `pos_embed_window`, shape (1, C, *unit).
    """
    window, means, _ = split(table, unit)
    return means.movedim(-1, 1), window.movedim(-1, 1)
