"""The contract of the backbone, over all archs."""

import math

import pytest
import torch
from support.common import relative_error, shallow
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from hiera_dense.errors import SetupError
from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.model.variants import ARCHS


def backbone(name: str = "tiny", **kwargs: object) -> HieraBackbone:
    return HieraBackbone(shallow(name), **kwargs)


def shapes(maps: tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    return [tuple(m.shape) for m in maps]


def expected_shapes(name: str, batch: int, *size: int) -> list[tuple[int, ...]]:
    """Of an image (H, W), or of a clip (T, H, W), whose frames are halved once."""
    *frames, height, width = size
    return [
        (
            batch,
            dim,
            *(math.ceil(n / 2) for n in frames),
            math.ceil(height / stride),
            math.ceil(width / stride),
        )
        for dim, stride in zip(ARCHS[name].dims, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("name", ARCHS)
def test_every_arch(name: str) -> None:
    model = backbone(name)
    frames = (5,) if "16x" in name else ()
    for mode, batch, side in [(True, 2, (64, 96)), (False, 1, (50, 75)), (True, 1, (33, 20))]:
        size = (*frames, *side)
        model.train(mode)
        maps = model(torch.randn(batch, 3, *size))
        assert shapes(maps) == expected_shapes(name, batch, *size)
        assert all(m.is_contiguous() and m.isfinite().all() for m in maps)
    sum(m.square().mean() for m in maps).backward()
    unreached = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unreached


def test_published_channels() -> None:
    """Hiera paper, table 2: embed dim, doubled by every stage."""
    first = dict(tiny=96, small=96, base=96, base_plus=112, large=144, huge=256)
    for name, dim in first.items():
        assert ARCHS[name].dims == (dim, 2 * dim, 4 * dim, 8 * dim)


@pytest.mark.parametrize("out_indices", [(0,), (3,), (1, 2), [0, 1, 2, 3]])
def test_out_indices(out_indices: list[int]) -> None:
    everything, some = backbone().eval(), backbone(out_indices=out_indices).eval()
    some.load_state_dict(everything.state_dict(), strict=False)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = everything(images)
        for i, result in zip(out_indices, some(images), strict=True):
            assert torch.equal(result, maps[i])
    sum(m.square().mean() for m in some(images)).backward()
    idle = {n for n, p in some.named_parameters() if p.requires_grad and p.grad is None}
    assert not idle  # data-parallel training stops at a parameter without a gradient
    kept = {f"norm{i}" for i in out_indices}
    assert {n for n, _ in some.named_children()} == kept | {"trunk"}


@torch.no_grad()
def test_output_norms_can_be_left_out() -> None:
    model, plain = backbone(), backbone(out_norm=False)
    plain.load_state_dict(model.state_dict(), strict=False)
    assert not [n for n in plain.state_dict() if n.startswith("norm")]
    images = torch.randn(1, 3, 64, 64)
    stages = plain.trunk(images, return_intermediates=True)[1]
    for i, (normed, raw) in enumerate(zip(model(images), plain(images), strict=True)):
        assert torch.equal(raw, stages[i].permute(0, 3, 1, 2))
        expected = torch.nn.functional.layer_norm(
            raw.permute(0, 2, 3, 1),
            raw.shape[1:2],
            *model.get_submodule(f"norm{i}").parameters(),
            1e-6,
        )
        torch.testing.assert_close(normed.permute(0, 2, 3, 1), expected)


@pytest.mark.parametrize("frozen_stages", [-1, 0, 1, 2, 4])
def test_frozen_stages(frozen_stages: int) -> None:
    model = backbone("sam2_tiny", frozen_stages=frozen_stages, drop_path_rate=0.5)
    model.eval().train()
    blocks = sum(model.trunk.arch.stages[: max(frozen_stages, 0)])
    frozen = [f"trunk.blocks.{i}." for i in range(blocks)]
    frozen += ["trunk.patch_embed.", "trunk.pos_embed"] if frozen_stages >= 0 else []
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    # Eight images: one that no drop path leaves out reaches every parameter.
    sum(m.square().mean() for m in model(torch.randn(8, 3, 64, 64))).backward()
    optimizer.step()
    for name, param in model.named_parameters():
        is_frozen = name.startswith(tuple(frozen))
        assert (param.grad is None) == is_frozen, name
        assert torch.equal(param, before[name]) == is_frozen, name
    for i, block in enumerate(model.trunk.blocks):
        assert block.training == (i >= blocks)


def test_other_channels_and_checkpointing_reach_the_trunk() -> None:
    model = backbone(in_channels=5, with_cp=(1,))
    assert shapes(model(torch.randn(1, 5, 64, 64))) == expected_shapes("tiny", 1, 64, 64)
    ends = model.trunk.stage_ends
    stages = range(ends[0] + 1, ends[1] + 1)
    assert [i for i, block in enumerate(model.trunk.blocks) if block.recompute] == [*stages]


def test_autocast() -> None:
    model = backbone("sam2_tiny")
    images = torch.randn(1, 3, 72, 96)
    with torch.autocast("cpu", torch.bfloat16):
        maps = model(images)
    sum(m.float().square().mean() for m in maps).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    for low, full in zip(maps, model(images), strict=True):
        assert (low - full).abs().max() / full.abs().max() < 0.05


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(out_indices=(0, 4)), r"out_indices \(0, 4\); expected some of 0 to 3"),
        (dict(out_indices=()), r"out_indices \(\)"),
        (dict(out_indices=(2, 1)), "in order"),
        (dict(frozen_stages=5), "frozen_stages 5; expected -1 to 4"),
    ],
)
def test_a_bad_setting_is_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        backbone(**kwargs)


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < "2.9", reason="torch 2.9 or newer compiles it")
@pytest.mark.parametrize("spec", [None, "auto"])
def test_a_compiled_backbone_is_one_graph_with_its_norms(spec: str | None) -> None:
    counter = CompileCounterWithBackend("eager")
    settings = dict(window_spec=spec, frozen_stages=1, out_indices=(1, 3))
    plain = backbone(**settings).train()
    compiled = backbone(**settings, compile=dict(backend=counter)).train()
    compiled.load_state_dict(plain.state_dict())
    for size in ((64, 96), (96, 160)):
        image = torch.randn(2, 3, *size)
        pairs = list(zip(compiled(image), plain(image), strict=True))
        assert max(relative_error(ours, theirs) for ours, theirs in pairs) < 1e-5
        assert all(ours.is_contiguous() for ours, _ in pairs)
    sum(ours.sum() for ours, _ in pairs).backward()
    learned = {name for name, param in compiled.named_parameters() if param.grad is not None}
    assert learned == {name for name, param in compiled.named_parameters() if param.requires_grad}
    assert counter.frame_count == 2
    with torch.no_grad():
        assert compiled.eval()(image)[0].isfinite().all()
    assert counter.frame_count == 3


def test_what_is_no_option_of_compile_is_named() -> None:
    with pytest.raises(SetupError, match="compile 'max-autotune'; expected True, False, or a dict"):
        backbone(compile="max-autotune")
