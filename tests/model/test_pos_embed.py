"""What position tables become on other grids."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support.common import relative_error, small_network

from hiera_dense.model import pos_embed as positions
from hiera_dense.model.hiera import Hiera

UNIT = (8, 8)
METHODS = ("window_aware", "tile", "interpolate")
SMALL = small_network(8, (1, 1, 1, 1))
grids = st.tuples(st.integers(1, 90), st.integers(1, 90))
units = st.tuples(st.integers(1, 5), st.integers(1, 5))


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def per_unit(means: torch.Tensor) -> torch.Tensor:
    """A table that is constant in each mask unit."""
    return means.repeat_interleave(8, 1).repeat_interleave(8, 2)


@pytest.mark.parametrize("method", METHODS)
def test_at_its_own_size_a_table_is_itself(method: str) -> None:
    table = randn(1, 56, 56, 4)
    assert torch.equal(positions.resize(table, (56, 56), UNIT, method), table)


@settings(deadline=None, max_examples=40)
@given(grid=grids, n=units)
def test_what_repeats_keeps_repeating_to_the_last_bit(grid: tuple, n: tuple) -> None:
    window = randn(1, 8, 8, 3)
    table = window.tile(1, *n, 1)
    resized = positions.window_aware(table, grid, UNIT)
    assert torch.equal(resized, window.tile(1, 12, 12, 1)[:, : grid[0], : grid[1]])


@settings(deadline=None, max_examples=40)
@given(grid=grids, n=units)
def test_what_varies_from_unit_to_unit_is_interpolated(grid: tuple, n: tuple) -> None:
    means = randn(1, *n, 3)
    expected = F.interpolate(means.permute(0, 3, 1, 2), grid, mode="bicubic").permute(0, 2, 3, 1)
    assert relative_error(positions.window_aware(per_unit(means), grid, UNIT), expected) < 1e-5


@settings(deadline=None, max_examples=40)
@given(grid=grids, n=units)
def test_the_parts_add_up_and_the_rest_stays_at_its_place_in_the_unit(
    grid: tuple, n: tuple
) -> None:
    """A table of the rest alone: each place in the unit is interpolated by itself."""
    table = randn(1, 8 * n[0], 8 * n[1], 3)
    window, means, rest = positions.split(table, UNIT)
    whole = rest.reshape(*n, 8, 8, 3).permute(0, 2, 1, 3, 4).reshape(table.shape)
    assert relative_error(window.tile(1, *n, 1) + per_unit(means) + whole, table) < 1e-5
    new = tuple(-(-side // 8) for side in grid)
    expected = torch.zeros(1, 8 * new[0], 8 * new[1], 3)
    for u in range(8):
        for v in range(8):
            plane = whole[:, u::8, v::8].permute(0, 3, 1, 2)
            plane = plane if new == n else F.interpolate(plane, new, mode="bicubic")
            expected[:, u::8, v::8] = plane.permute(0, 2, 3, 1)
    expected = expected[:, : grid[0], : grid[1]]
    resized = positions.window_aware(whole, grid, UNIT)
    assert (resized - expected).abs().max() < 1e-5


@settings(deadline=None, max_examples=20)
@given(grid=grids)
def test_tiling_repeats_the_whole_table(grid: tuple) -> None:
    table = randn(1, 24, 16, 3)
    resized = positions.resize(table, grid, UNIT, "tile")
    rows, columns = torch.arange(grid[0]) % 24, torch.arange(grid[1]) % 16
    assert torch.equal(resized, table[:, rows][:, :, columns])


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_every_entry_of_the_table(method: str) -> None:
    table = randn(1, 24, 16, 3).double().requires_grad_()
    resized = positions.resize(table, (51, 70), UNIT, method)
    (resized * torch.randn_like(resized)).sum().backward()
    assert (table.grad != 0).all()


def test_an_absolute_table_becomes_absolute_win() -> None:
    """Exactly, where the table holds nothing but what absolute win can say."""
    table = randn(1, 8, 8, 3).tile(1, 7, 7, 1) + per_unit(randn(1, 7, 7, 3))
    pos_embed, pos_embed_window = positions.as_absolute_win(table, UNIT)
    assert (pos_embed.shape, pos_embed_window.shape) == ((1, 3, 7, 7), (1, 3, 8, 8))
    for grid in ((56, 56), (64, 100), (13, 41)):
        whole = F.interpolate(pos_embed, grid, mode="bicubic")
        tiled = pos_embed_window.tile(1, 1, 13, 13)[:, :, : grid[0], : grid[1]]
        expected = positions.window_aware(table, grid, UNIT)
        assert relative_error((whole + tiled).movedim(1, -1), expected) < 1e-5


@pytest.mark.parametrize("grid", [(8, 24, 24), (5, 24, 24), (8, 30, 20), (12, 40, 17)])
def test_separable_tables_are_resized_over_time_and_over_the_image(grid: tuple) -> None:
    clips = dict(mask_unit=(1, 8, 8), q_stride=(1, 2, 2), patch_kernel=(3, 7, 7))
    clips |= dict(patch_stride=(2, 4, 4), patch_padding=(1, 3, 3))
    trunk = Hiera(SMALL | clips | dict(pos_embed=dict(kind="separable", size=(8, 24, 24))))
    space = trunk.pos_embed_spatial.reshape(1, 24, 24, -1)
    space = positions.resize(space, grid[1:], UNIT)
    time = trunk.pos_embed_temporal.movedim(-1, 1)
    time = F.interpolate(time, grid[0], mode="linear")[0].T  # (T, C)
    expected = space[:, None] + time[None, :, None, None]
    assert relative_error(trunk.position_embedding(grid), expected) < 1e-6


def test_a_tiled_table_may_have_a_global_part_that_starts_at_zero() -> None:
    trunk = Hiera(SMALL, pos_embed=dict(resize="tile", size=(16, 16), global_size=(4, 4)))
    tiled = trunk.pos_embed.reshape(1, 16, 16, -1).tile(1, 2, 2, 1)[:, :20, :30]
    assert torch.equal(trunk.position_embedding((20, 30)), tiled)
    with torch.no_grad():
        trunk.pos_embed_global.normal_()
    whole = F.interpolate(trunk.pos_embed_global, (20, 30), mode="bicubic").movedim(1, -1)
    assert relative_error(trunk.position_embedding((20, 30)), tiled + whole) < 1e-6


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (dict(resize="crop"), "unknown pos_embed resize 'crop'; expected window_aware, tile"),
        (dict(kind="absolute_win", resize="tile"), "resize 'tile' with kind 'absolute_win'"),
        (dict(global_size=(7, 7)), "global_size .* expected kind 'absolute' and resize 'tile'"),
        (dict(size=(50, 56)), r"size \(50, 56\) .* multiples of the mask unit \(8, 8\)"),
        (dict(kind="separable"), "expected as many axes"),
    ],
)
def test_a_bad_position_embedding_is_named(spec: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hiera(SMALL, pos_embed=spec)
