"""In which windows each block attends, for a grid of tokens of any size.

"Hiera" (Ryali et al., ICML 2023) attends in mask units, then globally; "Window Attention is Bugged"
(Bolya et al., ICLR 2024) and SAM 2 in windows of fixed sizes with a few global blocks. `auto` lets
windows follow the image, so that little or nothing is padded.
"""

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from hiera_dense.model.arch import Arch, Size
from hiera_dense.model.windows import Layout, ceil_div, known

_SEEN = 224  # pixels per axis of the images of pretraining
_SLIMMEST = 4  # longer side of a window over its shorter one


class Step(NamedTuple):
    """What one block does.

    Attributes:
        block: Its index.
        layout: How tokens lie while it attends.
        next_layout: How they lie after it.
        is_global: Whether it attends to the whole image.
    """

    block: int
    layout: Layout
    next_layout: Layout
    is_global: bool


def plan(arch: Arch, start: Layout, windows: Sequence[Size] | None = None) -> list[Step]:
    """The steps of all blocks.

    Args:
        arch: The architecture.
        start: How tokens lie before the first block.
        windows: What `window_spec='auto'` stands for. None: what `windows_for` chooses.
    """
    spec = arch.window_spec
    if isinstance(spec, str):
        spec = windows or windows_for(arch, start.grid)
    steps = []
    layout = start
    for i, window in enumerate(arch.block_windows(spec)):
        stride = arch.q_stride if i in arch.q_pool_blocks else None
        if window is not None:
            layout = Layout(layout.grid, window)
        elif arch.rel_pos or not _suits(layout, stride):
            layout = Layout(layout.grid, layout.grid)
        next_layout = layout if stride is None else layout.pooled(stride)
        steps.append(Step(i, layout, next_layout, window is None))
        layout = next_layout
    return steps


def _suits(layout: Layout, stride: Size | None) -> bool:
    """Whether global attention without relative position can take tokens as they lie.

    Their order does not matter to it, but none may be padding; with q-pooling, windows must hold
    whole cells.
    """
    whole_cells = stride is None or all(
        known(w % s == 0) for w, s in zip(layout.window, stride, strict=True)
    )
    return whole_cells and layout.is_whole


@lru_cache(maxsize=256)
def windows_for(arch: Arch, grid: Size) -> tuple[Size, ...]:
    """What `window_spec='auto'` stands for: a window for each stage.

    As long as pooling has not made a mask unit smaller than 4 x 4 tokens, the mask unit: position
    tables repeat with it. After that the window with the fewest FLOPs in all, padding and attention
    counted, among those that

    - hold at least as many tokens as an image of 224 px has at that stage, which is what published
      weights saw at once, if the image has so many;
    - are at most 4 times as long as wide; and
    - have even sides where a block pools them.

    Args:
        arch: The architecture.
        grid: Tokens per axis of the image, after the patch embedding.
    """
    windows = []
    unit = arch.mask_unit
    seen = math.prod(ceil_div((_SEEN,) * len(unit), arch.patch_stride))
    for stage, dim in enumerate(arch.dims):
        pools = stage > 0 and arch.widening_blocks[stage - 1] in arch.q_pool_blocks
        if pools:
            grid, unit = ceil_div(grid, arch.q_stride), ceil_div(unit, arch.q_stride)
            seen //= math.prod(arch.q_stride)
        even = stage < len(arch.dims) - 1 and arch.widening_blocks[stage] in arch.q_pool_blocks
        stride = arch.q_stride if even else (1,) * len(unit)
        windows.append(unit if min(unit) >= 4 else _cheapest(grid, stride, seen, dim))
    return tuple(windows)


def _cheapest(grid: Size, stride: Size, least: int, dim: int) -> Size:
    """The window with the fewest FLOPs: see `windows_for`."""
    most = _SLIMMEST * math.isqrt(least)
    sides = [
        range(by, min(length + by, most + 1), by) for length, by in zip(grid, stride, strict=True)
    ]
    windows = [w for w in itertools.product(*sides) if max(w) <= _SLIMMEST * min(w)]
    least = min(least, max(map(math.prod, windows)))  # of an image that has so many
    costs = []
    for window in windows:
        if (tokens := math.prod(window)) >= least:
            padded = math.prod(Layout(grid, window).padded_grid)
            costs.append((padded * (6 * dim + tokens), max(window) / min(window), window))
    return min(costs)[-1]
