"""Window layout: partitions invert, pooling sees real tokens only, padding is zero."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hiera_dense.model.windows import (
    Layout,
    max_pool,
    padding_mask,
    partition,
    relayout,
    unpartition,
    zero_padding,
)

SIDE = st.integers(1, 9)


def sizes(dims: int) -> st.SearchStrategy[tuple[tuple[int, ...], tuple[int, ...]]]:
    size = st.tuples(*[SIDE] * dims)
    return st.tuples(size, size)


GRID_AND_WINDOW = st.integers(1, 3).flatmap(sizes)


def tokens(grid: tuple[int, ...], batch: int = 2, channels: int = 3) -> torch.Tensor:
    count = batch * math.prod(grid) * channels
    return torch.arange(1.0, count + 1).reshape(batch, *grid, channels)


@given(GRID_AND_WINDOW)
def test_unpartition_inverts_partition(case: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    grid, window = case
    x = tokens(grid)
    rows = partition(x, window)
    layout = Layout(grid, window)
    assert rows.shape == (2 * math.prod(layout.windows), math.prod(window), 3)
    assert torch.equal(unpartition(rows, layout), x)


@given(GRID_AND_WINDOW, st.data())
def test_relayout_equals_partition(
    case: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    grid, window = case
    other = data.draw(st.tuples(*[SIDE] * len(grid)))
    x = tokens(grid)
    moved = relayout(partition(x, window), Layout(grid, window), Layout(grid, other))
    assert torch.equal(moved, partition(x, other))


@given(GRID_AND_WINDOW)
def test_padding_mask_marks_what_is_not_in_the_grid(
    case: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    grid, window = case
    rows = partition(tokens(grid, batch=1), window)
    mask = padding_mask(Layout(grid, window), 1, rows.device)
    if mask is None:
        assert all(g % w == 0 for g, w in zip(grid, window, strict=True))
    else:
        assert torch.equal(mask, (rows == 0).all(-1, keepdim=True))
        assert torch.equal(zero_padding(rows + 1, mask) == 0, mask.expand_as(rows))


def test_rows_are_windows_in_row_major_order() -> None:
    x = torch.arange(16.0).reshape(1, 4, 4, 1)
    rows = partition(x, (2, 2))[..., 0]
    assert rows.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@given(st.tuples(st.integers(1, 13), st.integers(1, 13)), st.sampled_from([2, 4, 6, 8]))
def test_pooling_in_windows_equals_pooling_of_the_map(grid: tuple[int, int], side: int) -> None:
    x = torch.randn(2, *grid, 3)
    layout = Layout(grid, (side, side))
    missing = partition(torch.ones_like(x), layout.window) == 0
    rows = partition(x, layout.window).masked_fill(missing, 100.0)  # what pooling must not see
    pooled = max_pool(rows, layout.window, (2, 2), padding_mask(layout, 2, x.device))
    expected = F.max_pool2d(x.permute(0, 3, 1, 2), 2, ceil_mode=True).permute(0, 2, 3, 1)
    assert torch.equal(unpartition(pooled, layout.pooled((2, 2))), expected)
    assert pooled.isfinite().all()


@pytest.mark.parametrize("grid", [(1, 1), (7, 4), (5, 9)])
def test_pooling_a_global_window_with_odd_sides(grid: tuple[int, int]) -> None:
    x = torch.randn(2, *grid, 3)
    pooled = max_pool(x.flatten(1, 2), grid, (2, 2))
    expected = F.max_pool2d(x.permute(0, 3, 1, 2), 2, ceil_mode=True).permute(0, 2, 3, 1)
    assert torch.equal(unpartition(pooled, Layout(grid, grid).pooled((2, 2))), expected)


def test_pooling_a_clip_leaves_time_alone() -> None:
    x = torch.randn(2, 4, 8, 8, 3)
    layout = Layout((4, 8, 8), (1, 4, 4))
    pooled = unpartition(
        max_pool(partition(x, layout.window), layout.window, (1, 2, 2)), layout.pooled((1, 2, 2))
    )
    expected = F.max_pool3d(x.movedim(-1, 1), (1, 2, 2)).movedim(1, -1)
    assert torch.equal(pooled, expected)
