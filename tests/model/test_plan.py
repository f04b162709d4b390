"""Which windows blocks attend in, and what follows the image."""

import math

import pytest

from hiera_dense.model.plan import plan, windows_for
from hiera_dense.model.variants import ARCHS, resolve
from hiera_dense.model.windows import Layout

AUTO = resolve("base", window_spec="auto")
SIZES = [(224, 224), (512, 512), (800, 1216), (1024, 1024), (1536, 1536), (97, 65), (736, 1248)]


def grids(size: tuple[int, int]) -> list[tuple[int, ...]]:
    """Tokens per axis of each stage."""
    return [tuple(math.ceil(n / 2**stage) for n in size) for stage in range(2, 6)]


def test_windows_at_the_sizes_of_detection() -> None:
    chosen = {size: windows_for(AUTO, grids(size)[0])[2:] for size in SIZES}
    assert chosen[224, 224] == ((14, 14), (7, 7))  # all of the image, as published
    assert chosen[512, 512] == chosen[1024, 1024] == ((16, 16), (8, 8))
    assert chosen[800, 1216] == ((10, 26), (5, 19))


@pytest.mark.parametrize("size", [*SIZES, (32, 32), (4, 4), (33, 999), (2048, 2048)])
def test_windows_that_follow_the_image(size: tuple[int, int]) -> None:
    first, second, *later = windows_for(AUTO, grids(size)[0])
    assert (first, second) == ((8, 8), (4, 4))  # what the position table repeats with
    for (height, width), grid, seen, even in zip(
        later, grids(size)[2:], (196, 49), (True, False), strict=True
    ):
        assert max(height, width) <= 4 * min(height, width)
        rounded = [math.ceil(n / 2) * 2 if even else n for n in grid]
        reach = min(math.prod(rounded), *(4 * n * n for n in rounded))
        assert height * width >= min(seen, reach)
        assert not even or height % 2 == width % 2 == 0
        padded = math.prod(Layout(grid, (height, width)).padded_grid) / math.prod(grid)
        if min(size) >= 224:
            assert padded < 1.12


def test_work_grows_with_pixels() -> None:
    """Tokens and pairs of tokens that attend, per pixel, without global blocks."""
    arch = resolve("base", window_spec="auto", global_att_blocks=())
    costs = []
    for side in (512, 1536):
        start = Layout((side // 4,) * 2, (side // 4,) * 2)
        steps = plan(arch, start)
        tokens = [math.prod(step.layout.padded_grid) for step in steps]
        costs.append(
            sum(n * (math.prod(s.layout.window) + 1000) for n, s in zip(tokens, steps, strict=True))
            / side**2
        )
    assert costs[1] / costs[0] == pytest.approx(1, abs=0.01)


def test_auto_has_a_global_block_unless_told_otherwise() -> None:
    assert AUTO.global_att_blocks == (20,)
    assert resolve("base", "auto", ()).global_att_blocks == ()
    own = ARCHS["sam2_base_plus"].global_att_blocks
    assert resolve("sam2_base_plus", "auto").global_att_blocks == own


def test_a_plan_walks_through_all_blocks() -> None:
    start = Layout((64, 64), (64, 64))
    steps = plan(resolve("tiny", (8, 4, 14, 7), (5, 7)), start)
    assert [step.block for step in steps] == list(range(12))
    assert [step.block for step in steps if step.is_global] == [5, 7]
    assert steps[-1].next_layout == Layout((8, 8), (7, 7))
