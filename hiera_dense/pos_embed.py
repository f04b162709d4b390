"""Learned position embeddings of the token grid.

- absolute: one table, as in Hiera (Ryali et al., ICML 2023; facebookresearch/hiera).
- absolute win: a table that follows the image plus one that repeats in every window, as in "Window
  Attention is Bugged" (Bolya et al., ICLR 2024; facebookresearch/sam2, `hieradet.py`).
- separable: one table over the image plus one over time, for clips (facebookresearch/hiera).

Tables keep the size they were learned at; what they become on another grid is computed here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hiera_dense.compute import exactly
from hiera_dense.windows import Layout, Size, ceil_div, crop, equal, known, partition, unpartition


def resize(
    table: Tensor, grid: Size, unit: Size, method: str = "window_aware", antialias: bool = False
) -> Tensor:
    """What a table becomes on the grid of another image.

    - `window_aware`: attention of the early stages sees one mask unit at a time, so a trained table
      repeats with it. What repeats is tiled, what varies over the image is interpolated:
      `window_aware` below.
    - `tile`: the whole table repeats, as HieraDet has it: windows that were whole images in
      pretraining see what they saw there.
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
    with exactly(table):
        resized = table.to(torch.promote_types(table.dtype, torch.float32))
        for axis, (old, new) in enumerate(zip(size, grid, strict=True), 1):
            if not known(old == new):
                weights = _weights(resized.new_ones(old).diag(), new, len(grid) == 2, antialias)
                resized = (resized.movedim(axis, -1) @ weights).movedim(-1, axis)
        return resized.to(table.dtype)


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

    The window part is tiled and the global part interpolated. The rest is interpolated for each
    position in the unit by itself, from unit to unit, so that no position takes from another.

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
    return tile(window, grid) + interpolate(means, grid, antialias) + unpartition(rest, new)


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


class Cache:
    """Position embeddings of some grids, for as long as the tables they are made from are the same.

    Tables are compared by value: weights can change in ways that leave no other trace, as when an
    average of the weights is swapped in for an evaluation.
    """

    grids = 4  # remembered at most, the last ones

    def __init__(self) -> None:
        self._kept: tuple[Any, list[Tensor], dict[Size, Tensor]] | None = None

    def get(self, tables: Sequence[Tensor], grid: Size, compute: Callable[[], Tensor]) -> Tensor:
        """What `compute` gives, from memory where nothing changed and no gradient is needed.

        Args:
            tables: What the embedding is made from.
            grid: Tokens per axis.
            compute: Makes the embedding, shape (1, *grid, C).
        """
        if self._is_traced(tables) or (
            torch.is_grad_enabled() and any(table.requires_grad for table in tables)
        ):
            return compute()
        key = torch.is_inference_mode_enabled(), [(t.device, t.dtype, t.shape) for t in tables]
        kept = self._kept  # once, since another thread may replace it
        if kept is None or kept[0] != key or not all(map(torch.equal, kept[1], tables)):
            kept = key, [table.detach().clone() for table in tables], {}
            self._kept = kept
        embeddings = kept[2]
        if grid not in embeddings:
            embedding = compute()
            while len(embeddings) >= self.grids:
                embeddings.pop(next(iter(embeddings)), None)
            embeddings[grid] = embedding
            return embedding
        return embeddings[grid]

    def clear(self) -> None:
        """Give the memory back."""
        self._kept = None

    @staticmethod
    def _is_traced(tables: Sequence[Tensor]) -> bool:
        """Whether what is done now is recorded or without values, so that none can be compared."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return True
        table = tables[0]
        return table.is_meta or (table.is_cuda and torch.cuda.is_current_stream_capturing())

    def __deepcopy__(self, memo: dict[int, Any]) -> "Cache":
        return Cache()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Cache, ()
