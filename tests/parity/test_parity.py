"""Equal to other people's code for equal weights, wherever that code runs.

The weights reach our trunk as a user's do: saved in the peer's own format, then loaded. Differences
are given as a share of the largest value of the feature, in float32.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hiera
import pytest
import torch
import torch.nn.functional as F
from support import peers
from support.common import randomize, relative_error, small_network
from torch import Tensor, nn

from hiera_dense.model.hiera import Hiera
from hiera_dense.model.pos_embed import window_aware
from hiera_dense.model.variants import ARCHS
from hiera_dense.weights.load import load_pretrained

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4
SAM2 = {name: f"sam2_hiera_{name.removeprefix('sam2_')}" for name in ARCHS if "sam2" in name}


def loaded(
    arch: str | dict[str, Any], peer: nn.Module, save: Callable[[nn.Module, Path], Path], to: Path
) -> Hiera:
    """Our trunk, filled from a file that holds the weights of a peer."""
    trunk = Hiera(arch).eval()
    path = save(peer, to)
    load_pretrained(trunk, path)
    path.unlink()
    return trunk


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs) == 4
    errors = [relative_error(a, b) for a, b in zip(ours, theirs, strict=True)]
    assert all(error < TOLERANCE for error in errors), errors


def assert_equals_timm(trunk: Hiera, peer: nn.Module, size: tuple[int, int]) -> None:
    images = torch.randn(1, 3, *size)
    theirs = peer.forward_intermediates(images, output_fmt="NHWC", intermediates_only=True)
    assert_equal(trunk(images, return_intermediates=True)[1], theirs)


@pytest.mark.parametrize("name", peers.IMAGES)
@torch.no_grad()
def test_stage_ends_equal_the_original(name: str, tmp_path: Path) -> None:
    """The largest with few blocks; it has as many as the large one."""
    full = name != "huge"
    build = peers.IMAGES[name] if full else partial(peers.few_blocks, name, hiera.Hiera)
    arch = name if full else peers.few_blocks_of_ours(name)
    trunk = loaded(arch, peer := peers.fair(build), peers.save_fair, tmp_path)
    images = torch.randn(1, 3, 224, 224)
    assert_equal(
        trunk(images, return_intermediates=True)[1], peer(images, return_intermediates=True)[1]
    )


@pytest.mark.parametrize("name", ["tiny", "base_plus"])
@torch.no_grad()
def test_masked_stage_ends_equal_the_original(name: str, tmp_path: Path) -> None:
    peer = peers.fair(peers.IMAGES[name])
    trunk = loaded(name, peer, peers.save_bare, tmp_path)
    images = torch.randn(2, 3, 224, 224)
    mask = torch.rand(2, 49).argsort(1) < 20
    last, ours = trunk(images, mask, return_intermediates=True)
    assert_equal(ours, peer(images, mask, return_intermediates=True)[1])
    assert torch.equal(last, ours[-1])


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_gradients_equal_the_original(name: str, tmp_path: Path) -> None:
    """In float64: in float32 a rounding error can make max pooling choose another token."""
    peer = peers.fair(peers.IMAGES[name])
    trunk = loaded(name, peer, peers.save_fair, tmp_path)
    peer, trunk = peer.double(), trunk.double()
    images = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    weights = [torch.randn_like(m) for m in trunk(images, return_intermediates=True)[1]]
    for model in (peer, trunk):
        maps = model(images, return_intermediates=True)[1]
        sum((m * w).mean() for m, w in zip(maps, weights, strict=True)).backward()
    theirs = dict(peer.named_parameters())
    errors = {n: relative_error(p.grad, theirs[n].grad) for n, p in trunk.named_parameters()}
    assert max(errors.values()) < 1e-9, max(errors.items(), key=lambda item: item[1])


@torch.no_grad()
def test_a_masked_autoencoder_becomes_a_backbone_as_in_the_original(tmp_path: Path) -> None:
    """Pretrained with two q-pools, used with three."""
    pretrained = peers.fair(peers.MAE["tiny"])
    trunk = loaded("tiny", pretrained, peers.save_fair, tmp_path)
    peer = peers.IMAGES["tiny"]().eval()
    keys = peer.load_state_dict(pretrained.state_dict(), strict=False)
    assert {key.split(".")[0] for key in keys.missing_keys} == {"norm", "head"}
    images = torch.randn(1, 3, 224, 224)
    assert_equal(
        trunk(images, return_intermediates=True)[1], peer(images, return_intermediates=True)[1]
    )


@torch.no_grad()
def test_published_clips_equal_the_original(tmp_path: Path) -> None:
    peer = peers.fair(peers.CLIPS["base_16x224"])
    trunk = loaded("base_16x224", peer, peers.save_fair, tmp_path)
    clips = torch.randn(1, 3, 16, 224, 224)
    assert_equal(
        trunk(clips, return_intermediates=True)[1], peer(clips, return_intermediates=True)[1]
    )


@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_clips_equal_the_original(masked: bool, tmp_path: Path) -> None:
    """The trunk on (T, H, W), with one table for all of it, as the original has it by default."""
    patch = dict(patch_kernel=(3, 7, 7), patch_stride=(2, 4, 4), patch_padding=(1, 3, 3))
    shape = small_network(16, (1, 2, 2, 2), q_stride=(1, 2, 2), **patch)
    peer = hiera.Hiera(input_size=(8, 64, 96), mask_unit_size=(1, 8, 8), **shape).eval()
    randomize(peer)
    arch = dict(mask_unit=(1, 8, 8), pos_embed=dict(size=(4, 16, 24)), **shape)
    trunk = loaded(arch, peer, peers.save_fair, tmp_path)
    clips = torch.randn(2, 3, 8, 64, 96)
    mask = torch.rand(2, 4 * 2 * 3).argsort(1) < 7 if masked else None
    ours = trunk(clips, mask, return_intermediates=True)[1]
    assert_equal(ours, peer(clips, mask, return_intermediates=True)[1])


@torch.no_grad()
def test_clips_of_another_length_and_size_equal_the_original_with_resized_tables() -> None:
    """Time is interpolated linearly, the image window by window."""
    patch = dict(patch_kernel=(3, 7, 7), patch_stride=(2, 4, 4), patch_padding=(1, 3, 3))
    shape = small_network(16, (1, 2, 2, 2), q_stride=(1, 2, 2), **patch)
    kind = dict(kind="separable", size=(8, 24, 24))
    trunk = Hiera(dict(mask_unit=(1, 8, 8), pos_embed=kind, **shape)).eval()
    randomize(trunk)
    length, side = 20, (64, 128)
    units = dict(mask_unit_size=(1, 8, 8), sep_pos_embed=True)
    peer = hiera.Hiera(input_size=(length, *side), **units, **shape).eval()
    state = trunk.state_dict()
    time = state["pos_embed_temporal"].transpose(1, 2)
    state["pos_embed_temporal"] = F.interpolate(time, 10, mode="linear").transpose(1, 2)
    image = state["pos_embed_spatial"].reshape(1, 24, 24, 16)
    state["pos_embed_spatial"] = window_aware(image, (16, 32), (8, 8)).flatten(1, 2)
    keys = peer.load_state_dict(state, strict=False)
    assert {key.split(".")[0] for key in keys.missing_keys} == {"norm", "head"}
    clips = torch.randn(1, 3, length, *side)
    ours = trunk(clips, return_intermediates=True)[1]
    assert_equal(ours, peer(clips, return_intermediates=True)[1])


@pytest.mark.parametrize("name", ["tiny", "base_plus"])
@torch.no_grad()
def test_stage_ends_equal_transformers(name: str, tmp_path: Path) -> None:
    peer = peers.of_transformers(name)
    trunk = loaded(name, peer, peers.save_transformers, tmp_path)
    images = torch.randn(1, 3, 224, 224)
    theirs = peer(images, output_hidden_states=True).reshaped_hidden_states
    assert_equal(trunk(images, return_intermediates=True)[1], theirs[-4:])


@pytest.mark.parametrize("size", [(256, 256), (384, 512)])
@torch.no_grad()
def test_stage_ends_equal_the_sam2_trunk_of_transformers(
    size: tuple[int, int], tmp_path: Path
) -> None:
    peer = peers.sam2_of_transformers(image_size=list(size))
    trunk = loaded("sam2_tiny", peer, peers.save_transformers, tmp_path)
    images = torch.randn(1, 3, *size)
    theirs = peer(images).intermediate_hidden_states
    assert_equal(trunk(images, return_intermediates=True)[1], theirs)


@torch.no_grad()
def test_stage_ends_equal_hiera_of_timm(tmp_path: Path) -> None:
    peer = peers.of_timm("hiera_tiny_224")
    trunk = loaded("tiny", peer, peers.save_bare, tmp_path)
    assert_equals_timm(trunk, peer, (224, 224))


# timm builds it for one size; the tables are of equal size in all of them.
@pytest.mark.parametrize("size", [(256, 256), (64, 96), (320, 288)])
@torch.no_grad()
def test_stage_ends_equal_absolute_win_of_timm(size: tuple[int, int], tmp_path: Path) -> None:
    """With layer scale, and the max and the mean of the cells as the shortcut."""
    peer = peers.of_timm("hiera_small_abswin_256", img_size=size)
    trunk = loaded("small_abswin", peer, peers.save_bare, tmp_path)
    assert_equals_timm(trunk, peer, size)


@pytest.mark.parametrize("name", SAM2)
@torch.no_grad()
def test_stage_ends_equal_the_sam2_trunk_of_timm(name: str, tmp_path: Path) -> None:
    """256: windows of 14 do not divide 16 x 16 tokens. 448: they divide 28 x 28."""
    peer = peers.of_timm(SAM2[name], num_classes=0)
    trunk = loaded(name, peer, peers.save_sam2, tmp_path)
    for size in ((256, 256), (448, 448), (384, 512)):
        assert_equals_timm(trunk, peer, size)


@pytest.mark.parametrize("name", SAM2)
@torch.no_grad()
def test_sam2_trunks_equal_at_the_sizes_of_detection(name: str, tmp_path: Path) -> None:
    """At reduced depth: blocks with and without q-pooling, in windows and global."""
    depth = dict(stages=(1, 1, 3, 2), global_att_blocks=(3,))
    peer = peers.of_timm(SAM2[name], num_classes=0, **depth)
    arch = ARCHS[name]
    ours = dict(
        embed_dim=arch.embed_dim, num_heads=arch.num_heads, window_spec=arch.window_spec, **depth
    )
    ours |= dict(pos_embed=dict(kind="absolute_win", size=arch.pos_embed.table_size))
    trunk = loaded(ours, peer, peers.save_bare, tmp_path)
    for size in ((1024, 1024), (800, 1216), (608, 928)):
        assert_equals_timm(trunk, peer, size)
