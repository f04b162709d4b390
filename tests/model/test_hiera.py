"""The trunk: any size against the plain reference, locality, masks, drop path, errors."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from support.common import randomize, relative_error, shallow, small_network
from support.reference import stage_maps

from hiera_dense.model.arch import Arch
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.layers import HieraBlock
from hiera_dense.model.plan import windows_for
from hiera_dense.model.variants import ARCHS
from hiera_dense.model.windows import Layout, ceil_div, padding_mask, partition

WINDOWED = small_network(8, (1, 2, 2, 1), window_spec=(8, 4, 2, 1))
SIZES = [(1, 1), (20, 36), (97, 65), (60, 132), (64, 32)]
SPECS = {
    "mask units, then global": ((8, 4, 0, 0), ()),
    "windows that never fit": ((8, 4, 14, 7), (4,)),
    "a global block that pools": ((8, 4, 6, 3), (3, 5)),
    "global from the start": ((0, 0, 0, 0), ()),
    "rectangles": (((4, 8), (2, 6), (10, 2), (3, 5)), (4,)),
}


def tiny(
    window_spec: tuple | str,
    global_att_blocks: tuple | None = None,
    extras: dict | None = None,
    **kwargs: object,
) -> Hiera:
    trunk = Hiera(
        small_network(8, (1, 2, 2, 2)) | (extras or {}),
        window_spec=window_spec,
        global_att_blocks=global_att_blocks,
        **kwargs,
    )
    randomize(trunk)
    return trunk.double().eval()


def assert_equals_the_reference(trunk: Hiera, size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    ours = trunk(images, return_intermediates=True)[1]
    expected = stage_maps(trunk.arch, trunk.state_dict(), images)
    errors = [relative_error(a, b) for a, b in zip(ours, expected, strict=True)]
    assert max(errors) < 1e-9, errors


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", ["absolute", "absolute_win"])
@torch.no_grad()
def test_any_size_equals_the_plain_reference(spec: str, kind: str, size: tuple[int, int]) -> None:
    trunk = tiny(*SPECS[spec], pos_embed=dict(kind=kind, antialias=kind == "absolute_win"))
    assert_equals_the_reference(trunk, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", SPECS)
@torch.no_grad()
def test_layer_scale_and_pooled_shortcuts_equal_the_plain_reference(
    spec: str, size: tuple[int, int]
) -> None:
    trunk = tiny(*SPECS[spec], extras=dict(layer_scale=0.1, expand_proj=False))
    assert_equals_the_reference(trunk, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("extras", [{}, dict(layer_scale=0.1, expand_proj=False)])
def test_gradients_are_finite_at_any_size(size: tuple[int, int], extras: dict) -> None:
    for spec in SPECS.values():
        trunk = tiny(*spec, extras=extras)
        trunk(torch.randn(1, 3, *size, dtype=torch.float64)).sum().backward()
        assert all(p.grad.isfinite().all() for p in trunk.parameters())


@torch.no_grad()
def test_a_pixel_reaches_its_own_window_only() -> None:
    trunk = Hiera(WINDOWED).eval()
    randomize(trunk)
    images = torch.randn(1, 3, 128, 160)
    changed = images.clone()
    changed[0, :, 32 + 15, 64 + 15] += 1  # the middle of mask unit (1, 2)
    pairs = zip(
        trunk(images, return_intermediates=True)[1],
        trunk(changed, return_intermediates=True)[1],
        strict=True,
    )
    for stage, (before, after) in enumerate(pairs):
        unit = 8 >> stage
        touched = (before != after).any(-1)[0]
        own = torch.zeros_like(touched)
        own[unit : 2 * unit, 2 * unit : 3 * unit] = True
        assert touched.any()
        assert not (touched & ~own).any()


@torch.no_grad()
def test_a_global_block_reaches_every_window() -> None:
    trunk = Hiera(WINDOWED, global_att_blocks=(4,)).eval()
    randomize(trunk)
    images = torch.randn(1, 3, 128, 160)
    changed = images.clone()
    changed[0, :, 47, 79] += 1
    assert (trunk(images) != trunk(changed)).any(-1).all()


@torch.no_grad()
def test_images_of_a_batch_do_not_mix() -> None:
    trunk = tiny((8, 4, 14, 7), (4,))
    images = torch.randn(3, 3, 70, 50, dtype=torch.float64)
    together = trunk(images)
    for i in range(3):
        assert relative_error(trunk(images[i : i + 1]), together[i : i + 1]) < 1e-12


@torch.no_grad()
def test_dropped_units_do_not_matter() -> None:
    trunk = Hiera(shallow("tiny")).eval()
    images = torch.randn(2, 3, 96, 64)
    mask = torch.tensor([[1, 0, 0, 1, 1, 0], [0, 1, 1, 1, 0, 0]], dtype=torch.bool)
    noise = torch.randn_like(images) * ~mask.reshape(2, 1, 3, 2).repeat_interleave(
        32, 2
    ).repeat_interleave(32, 3)
    assert torch.equal(trunk(images, mask), trunk(images + noise, mask))
    assert trunk(images, mask).shape == (2, 3, 1, 1, 768)


@torch.no_grad()
def test_with_every_unit_kept_a_mask_changes_nothing() -> None:
    trunk = Hiera(shallow("base_plus")).eval()
    images = torch.randn(2, 3, 96, 64)
    masked = trunk(images, torch.ones(2, 6, dtype=torch.bool))
    assert relative_error(masked.reshape(2, 3, 2, -1), trunk(images)) < 1e-5


def test_drop_path_drops_whole_images() -> None:
    block = HieraBlock(8, 8, 1, drop_path=0.5).train()
    torch.nn.init.zeros_(block.mlp.fc2.weight)
    torch.nn.init.zeros_(block.mlp.fc2.bias)
    layout = Layout((12, 9), (4, 4))
    x = partition(torch.randn(16, *layout.grid, 8), layout.window)
    y = block(x, 16, layout.window, padding_mask(layout, 16, x.device))
    kept = (x != y).reshape(16, -1).float().mean(1)
    assert set(kept.tolist()) == {0.0, 1.0}


def test_drop_path_grows_linearly() -> None:
    trunk = Hiera("tiny", drop_path_rate=0.22)
    rates = [block.drop_path.drop_prob for block in trunk.blocks]
    assert rates == pytest.approx([0.02 * i for i in range(12)])


@pytest.mark.parametrize(("with_cp", "recomputed"), [(True, range(8)), ((0, 2), (0, 3, 4, 5))])
def test_checkpointing_recomputes_blocks_and_changes_no_gradient(
    with_cp: bool | tuple[int, ...], recomputed: Sequence[int]
) -> None:
    plain = Hiera(shallow("sam2_tiny"), drop_path_rate=0.3).double()
    saving = Hiera(shallow("sam2_tiny"), drop_path_rate=0.3, with_cp=with_cp).double()
    saving.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 72, 96, dtype=torch.float64)
    runs = []
    for trunk in (plain, saving):
        for i, block in enumerate(trunk.blocks):
            block.attn.register_forward_pre_hook(lambda *_, i=i: runs.append(i))
        torch.manual_seed(1)
        trunk(images).square().mean().backward()
        if trunk is plain:
            assert runs == list(range(8))
    assert sorted(runs) == sorted([*range(8), *range(8), *recomputed])
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_windows_that_follow_the_image_equal_the_plain_reference() -> None:
    trunk = tiny("auto")
    assert trunk.arch.global_att_blocks == (4,)
    for size in SIZES:
        images = torch.randn(1, 3, *size, dtype=torch.float64)
        grid = ceil_div(size, (4, 4))
        chosen = replace(trunk.arch, window_spec=windows_for(trunk.arch, grid))
        expected = stage_maps(chosen, trunk.state_dict(), images)
        pairs = zip(trunk(images, return_intermediates=True)[1], expected, strict=True)
        assert max(relative_error(a, b) for a, b in pairs) < 1e-9


def test_lists_are_as_good_as_tuples() -> None:
    lists = dict(embed_dim=8, num_heads=1, stages=[1, 1, 1, 1], mask_unit=[8, 8], q_stride=[2, 2])
    trunk = Hiera(lists, window_spec=[8, [4, 4], 0, 0], global_att_blocks=[1])
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert trunk(torch.zeros(1, 3, 64, 64), mask).shape == (1, 4, 1, 1, 64)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(arch="tiny", in_channels=0), "in_channels 0; expected an int, 1 or more"),
        (dict(arch="giant"), "unknown arch 'giant'; expected tiny, small, base"),
        (dict(arch=dict(depth=3)), "unknown arch field depth; expected embed_dim"),
        (dict(arch="tiny", window_spec=(8, 4, 0)), "has 3 entries; expected one for each of the 4"),
        (
            dict(arch="tiny", window_spec="large"),
            "window_spec 'large' of an arch of 2 axes; expected",
        ),
        (dict(arch="base_16x224", window_spec="auto"), "'auto' of an arch of 3 axes; expected"),
        (
            dict(arch="tiny", with_cp=(0, 4)),
            r"with_cp \(0, 4\); expected True, False, 'mlp', or some of 4",
        ),
        (dict(arch="tiny", with_cp="all"), "with_cp 'all'; expected True, False, 'mlp', or some"),
        (dict(arch="tiny", window_spec=(8, 5, 0, 0)), r"window \(5, 5\) of block 3.* multiples of"),
        (dict(arch="tiny", window_spec=(8, -4, 0, 0)), "window_spec entry -4; expected 0"),
        (dict(arch="tiny", window_spec=(8, (4, 0), 0, 0)), "window_spec entry"),
        (
            dict(arch="tiny", global_att_blocks=(12,)),
            r"global_att_blocks \[12\] out of range.* 0 to 11",
        ),
        (dict(arch="tiny", pos_embed=dict(kind="sine")), "unknown pos_embed kind 'sine'; expected"),
        (
            dict(arch="tiny", pos_embed=dict(scale=1)),
            "unknown pos_embed field scale; expected",
        ),
    ],
)
def test_a_bad_setting_is_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hiera(**kwargs)


@pytest.mark.parametrize(
    ("shape", "mask", "message"),
    [
        ((1, 4, 64, 64), None, r"input of shape \(1, 4, 64, 64\); expected \(B, 3, H, W\)"),
        ((3, 64, 64), None, "expected"),
        ((1, 3, 0, 64), None, "not empty"),
        ((1, 3, 64, 40), torch.ones(1, 2, dtype=torch.bool), r"expected multiples of \(32, 32\)"),
        ((1, 3, 64, 64), torch.ones(1, 3, dtype=torch.bool), r"expected \(1, 4\), torch.bool"),
        ((1, 3, 64, 64), torch.ones(1, 4), r"torch.float32; expected \(1, 4\), torch.bool"),
        ((2, 3, 32, 64), torch.tensor([[True, True], [True, False]]), r"keeps \[2, 1\] units"),
        ((1, 3, 32, 64), torch.zeros(1, 2, dtype=torch.bool), r"keeps \[0\] units"),
    ],
)
def test_a_bad_input_is_named(shape: tuple, mask: torch.Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hiera(WINDOWED)(torch.zeros(shape), mask)


def test_a_mask_needs_windows_that_follow_the_mask_unit() -> None:
    with pytest.raises(ValueError, match="window_spec must follow the mask unit"):
        Hiera(shallow("sam2_tiny"))(torch.zeros(1, 3, 64, 64), torch.ones(1, 4, dtype=torch.bool))


def test_another_kind_of_position_embedding_starts_from_its_own_defaults() -> None:
    assert Hiera(WINDOWED, pos_embed=dict(kind="absolute_win")).pos_embed.shape == (1, 8, 7, 7)
    own = Hiera(WINDOWED, pos_embed=dict(kind=None, size=None, antialias=True)).arch.pos_embed
    assert (own.kind, own.table_size, own.antialias) == ("absolute", (56, 56), True)
    assert ARCHS["sam2_base_plus"].pos_embed.table_size == (14, 14)
    assert Arch(8, 1, (1, 1, 1, 1)).pos_embed.table_size == (56, 56)
