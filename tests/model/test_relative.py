"""Relative position in global blocks: against timm and the plain reference, weights, errors."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.common import randomize, relative_error, small_network
from support.reference import stage_maps
from timm.models.vision_transformer_sam import Attention as SamAttention
from timm.models.vision_transformer_sam import get_decomposed_rel_pos_bias
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hiera_dense.errors import CheckpointError
from hiera_dense.model import cpu
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.layers import Attention
from hiera_dense.model.relative import relative_attention
from hiera_dense.weights.layouts import LAYOUTS
from hiera_dense.weights.load import load_pretrained
from hiera_dense.weights.shapes import arch_of

SMALL = small_network(8, (1, 2, 2, 2))
SPECS = {
    "mask units, then global": ((8, 4, 0, 0), ()),
    "windows that never fit": ((8, 4, 14, 7), (4,)),
    "global blocks that pool": ((8, 4, 6, 3), (1, 3, 5)),
}
WINDOWS = SPECS["windows that never fit"]


def small(spec: tuple = WINDOWS, rel_pos: tuple | None = (16, 24), **kwargs: Any) -> Hiera:
    trunk = Hiera(SMALL, window_spec=spec[0], global_att_blocks=spec[1], rel_pos=rel_pos, **kwargs)
    randomize(trunk)
    return trunk.eval()


def random_values(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("grid", [(6, 10), (4, 7), (16, 3), (1, 1)])
def test_equals_sam_of_timm(grid: tuple[int, int]) -> None:
    """The same weights, at the grid that the tables are for, and interpolated."""
    peer = SamAttention(24, num_heads=2, use_rel_pos=True, input_size=(6, 10)).double()
    own = Attention(24, 24, 2, None, rel_pos=(6, 10)).double()
    randomize(peer)
    own.load_state_dict(peer.state_dict())
    x = random_values(2, *grid, 24)
    ours = own(x.flatten(1, 2), 2, grid)
    assert relative_error(ours.view_as(x), peer(x)) < 1e-10


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 2)])
def test_pooled_queries_equal_a_bias_of_timm(stride: tuple[int, int]) -> None:
    grid, queries = (4, 6), (4 // stride[0], 6 // stride[1])
    q = random_values(2, 3, queries[0] * queries[1], 12)
    k, v = random_values(2, 2, 3, 24, 12)
    tables = random_values(7, 12), random_values(11, 12)
    bias = get_decomposed_rel_pos_bias(q.flatten(0, 1), *tables, queries, grid)
    expected = nn.functional.scaled_dot_product_attention(q, k, v, bias.unflatten(0, (2, 3)))
    assert relative_error(relative_attention(q, k, v, tables, grid, stride), expected) < 1e-10


@pytest.mark.parametrize("size", [(64, 96), (97, 65), (20, 36), (1, 1)])
@pytest.mark.parametrize("spec", SPECS)
@torch.no_grad()
def test_any_size_equals_the_plain_reference(spec: str, size: tuple[int, int]) -> None:
    trunk = small(SPECS[spec]).double()
    images = random_values(2, 3, *size)
    ours = trunk(images, return_intermediates=True)[1]
    expected = stage_maps(trunk.arch, trunk.state_dict(), images)
    assert max(map(relative_error, ours, expected)) < 1e-9


def test_tables_follow_the_stages_and_start_at_zero() -> None:
    trunk = Hiera(
        SMALL, window_spec=(8, 4, 0, 0), global_att_blocks=(1,), rel_pos=(13, 24), drop_path_rate=0
    )
    tables = {n: t for n, t in trunk.state_dict().items() if "rel_pos" in n}
    lengths = {1: (13, 24), 4: (4, 6), 5: (4, 6), 6: (2, 3)}  # of keys, where a block pools
    assert {name: tuple(table.shape) for name, table in tables.items()} == {
        f"blocks.{block}.attn.rel_pos_{axis}": (2 * length - 1, 8)
        for block, size in lengths.items()
        for axis, length in zip("hw", size, strict=True)
    }
    assert not any(table.any() for table in tables.values())
    assert trunk.no_weight_decay() == {"pos_embed", *tables}
    pytest.importorskip("mmengine")
    from hiera_dense.mm.layer_decay import _decays

    assert not any(_decays(name, table) for name, table in tables.items())


@pytest.mark.parametrize("spec", SPECS)
def test_zero_tables_change_nothing_and_learn(spec: str, tmp_path: Path) -> None:
    plain = small(SPECS[spec], None)
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    trunk = small(SPECS[spec])
    report = str(load_pretrained(trunk, tmp_path / "plain.pth"))
    blocks = trunk.arch.global_blocks
    assert f"blocks.{blocks[0]}.attn.rel_pos_h, blocks.{blocks[0]}.attn.rel_pos_w" in report
    assert "start at zero" in report
    images = torch.randn(2, 3, 60, 132)
    ours = trunk(images)
    assert relative_error(ours, plain(images)) < 1e-6
    ours.square().sum().backward()
    tables = [param for name, param in trunk.named_parameters() if "rel_pos" in name]
    assert len(tables) == 2 * len(blocks)
    assert all(table.grad.any() for table in tables)


def test_parts_that_are_recomputed_have_the_same_gradients() -> None:
    images, found = random_values(2, 3, 60, 132), []
    for with_cp in (False, True, "mlp"):
        trunk = small(with_cp=with_cp).double().train()
        trunk(images).square().sum().backward()
        found.append([param.grad for param in trunk.parameters()])
    plain, *others = found
    for other in others:
        assert max(map(relative_error, other, plain)) < 1e-10


def test_the_fused_kernel_takes_it() -> None:
    """The one of a CPU, at sizes of which the grid is odd; and no bias is held for the backward."""
    trunk, images = small(SPECS["mask units, then global"]), torch.randn(1, 3, 224, 212)
    kept = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with (
        sdpa_kernel(SDPBackend.FLASH_ATTENTION),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        trunk(images).sum().backward()
    heads, tokens = 4, 14 * 14
    assert max(kept) < heads * tokens**2


@pytest.mark.parametrize("by_products", [True, False])
@torch.no_grad()
def test_bfloat16_is_near_to_float32(by_products: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_multiplies_bf16", lambda: by_products)
    trunk, images = small(), torch.randn(2, 3, 96, 128)
    expected = trunk(images)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = trunk(images)
    half = trunk.bfloat16()(images.bfloat16())
    for ours in (mixed, half):
        assert ((ours.float() - expected).norm() / expected.norm()).item() < 0.05


def test_weights_with_tables_come_back(tmp_path: Path) -> None:
    trunk = small()
    torch.save(trunk.state_dict(), tmp_path / "own.pth")
    again = small()
    for param in again.parameters():
        nn.init.zeros_(param)
    assert "zero" not in str(load_pretrained(again, tmp_path / "own.pth"))
    assert all(map(torch.equal, again.parameters(), trunk.parameters()))
    trunk.save_pretrained(tmp_path / "folder")
    hub = Hiera.from_pretrained(tmp_path / "folder")
    assert hub.arch == trunk.arch
    assert all(map(torch.equal, hub.parameters(), trunk.parameters()))
    for other, message in {
        (16, 16): r"rel_pos_w \(11, 8\), expected \(7, 8\); .* fit rel_pos \(16, 24\), global",
        None: r"unexpected: blocks.4.attn.rel_pos_h, .* fit rel_pos \(16, 24\), .*blocks \(4,\)",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            load_pretrained(small(rel_pos=other), tmp_path / "own.pth")
    one_missing = trunk.state_dict()
    del one_missing["blocks.4.attn.rel_pos_w"]
    torch.save(one_missing, tmp_path / "one.pth")
    with pytest.raises(CheckpointError, match=r"missing: blocks.4.attn.rel_pos_w"):
        load_pretrained(small(), tmp_path / "one.pth")


@pytest.mark.parametrize("spec", SPECS)
def test_shapes_tell_an_arch_that_takes_them(spec: str) -> None:
    with torch.device("meta"):
        state = Hiera(
            SMALL | dict(num_heads=2),
            window_spec=SPECS[spec][0],
            global_att_blocks=SPECS[spec][1],
            rel_pos=(13, 24),
        ).state_dict()
        again = Hiera(arch_of(state)).state_dict()
    assert {n: t.shape for n, t in again.items()} == {n: t.shape for n, t in state.items()}


def test_other_layouts_have_no_such_tables() -> None:
    win = small(pos_embed=dict(kind="absolute_win")).state_dict()
    for layout, state in dict(
        fair=small().state_dict(), timm=win, timm_hieradet=win, sam2=win, transformers=win
    ).items():
        with pytest.raises(CheckpointError, match=r"layout has no .*rel_pos|no pos_embed_window"):
            LAYOUTS[layout](state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(arch=SMALL, rel_pos=(16,)), r"rel_pos \(16,\); expected tokens per axis"),
        (dict(arch=SMALL, rel_pos=(0, 16)), r"rel_pos \(0, 16\); expected tokens"),
        (dict(arch=SMALL, rel_pos=16), "rel_pos 16; expected tokens per axis"),
        (dict(arch=SMALL, rel_pos=(16, 16), window_spec=(8, 4, 2, 1)), "mean no global block"),
        (dict(arch="base_16x224", rel_pos=(8, 56, 56)), "of an arch of 3 axes; expected None"),
    ],
)
def test_values_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hiera(**settings)


def test_a_mask_is_refused() -> None:
    mask = torch.tensor([[True, False, True, True]])
    with pytest.raises(
        ValueError, match=r"a mask together with rel_pos \(16, 24\), .* expected only one of them"
    ):
        small(SPECS["mask units, then global"])(torch.zeros(1, 3, 64, 64), mask)
