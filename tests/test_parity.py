"""Equal to other people's code for equal weights, wherever that code runs.

Differences are given as a share of the largest value of the feature, in float32.
"""

from collections.abc import Callable

import hiera
import pytest
import timm
import torch
from conftest import randomize, relative_error
from torch import Tensor, nn

from hiera_dense.hiera import Hiera
from hiera_dense.variants import ARCHS

TOLERANCE = 1e-4
FAIR = {
    "tiny": hiera.hiera_tiny_224,
    "small": hiera.hiera_small_224,
    "base": hiera.hiera_base_224,
    "base_plus": hiera.hiera_base_plus_224,
    "large": hiera.hiera_large_224,
    "huge": hiera.hiera_huge_224,
}
SAM2 = {name: f"sam2_hiera_{name.removeprefix('sam2_')}" for name in ARCHS if "sam2" in name}


def copy_of(peer: nn.Module, name: str, not_trunk: set[str]) -> Hiera:
    """Our trunk with the weights of a peer; all of ours filled, and only its heads left over."""
    state = peer.state_dict()
    with torch.device("meta"):
        trunk = Hiera(name)
    keys = trunk.load_state_dict(state, strict=False, assign=True)
    assert not keys.missing_keys
    assert {key.split(".")[0] for key in keys.unexpected_keys} == not_trunk
    return trunk.eval()


def fair(name: str, build: Callable[[], nn.Module]) -> tuple[nn.Module, Hiera]:
    peer = build().eval()
    randomize(peer)
    return peer, copy_of(peer, name, {"norm", "head"})


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs) == 4
    errors = [relative_error(a, b) for a, b in zip(ours, theirs, strict=True)]
    assert all(error < TOLERANCE for error in errors), errors


@pytest.mark.parametrize("name", FAIR)
@torch.no_grad()
def test_stage_ends_equal_the_original(name: str) -> None:
    peer, trunk = fair(name, FAIR[name])
    images = torch.randn(1, 3, 224, 224)
    assert_equal(
        trunk(images, return_intermediates=True)[1], peer(images, return_intermediates=True)[1]
    )


@pytest.mark.parametrize("name", ["tiny", "base_plus"])
@torch.no_grad()
def test_masked_stage_ends_equal_the_original(name: str) -> None:
    peer, trunk = fair(name, FAIR[name])
    images = torch.randn(2, 3, 224, 224)
    mask = torch.rand(2, 49).argsort(1) < 20
    last, ours = trunk(images, mask, return_intermediates=True)
    assert_equal(ours, peer(images, mask, return_intermediates=True)[1])
    assert torch.equal(last, ours[-1])


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_gradients_equal_the_original(name: str) -> None:
    """In float64: in float32 a rounding error can make max pooling choose another token."""
    peer, trunk = (model.double() for model in fair(name, FAIR[name]))
    images = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    weights = [torch.randn_like(m) for m in trunk(images, return_intermediates=True)[1]]
    for model in (peer, trunk):
        maps = model(images, return_intermediates=True)[1]
        sum((m * w).mean() for m, w in zip(maps, weights, strict=True)).backward()
    theirs = dict(peer.named_parameters())
    errors = {n: relative_error(p.grad, theirs[n].grad) for n, p in trunk.named_parameters()}
    assert max(errors.values()) < 1e-9, max(errors.items(), key=lambda item: item[1])


@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_clips_equal_the_original(masked: bool) -> None:
    """The trunk on (T, H, W), with one table for all of it, as the original has it by default."""
    patch = dict(patch_kernel=(3, 7, 7), patch_stride=(2, 4, 4), patch_padding=(1, 3, 3))
    shape = dict(embed_dim=16, num_heads=1, stages=(1, 2, 2, 2), q_stride=(1, 2, 2), **patch)
    peer = hiera.Hiera(input_size=(8, 64, 96), mask_unit_size=(1, 8, 8), **shape).eval()
    randomize(peer)
    table = dict(size=(4, 16, 24))
    trunk = Hiera(dict(mask_unit=(1, 8, 8), pos_embed=table, **shape)).eval()
    keys = trunk.load_state_dict(peer.state_dict(), strict=False)
    assert not keys.missing_keys
    clips = torch.randn(2, 3, 8, 64, 96)
    mask = torch.rand(2, 4 * 2 * 3).argsort(1) < 7 if masked else None
    ours = trunk(clips, mask, return_intermediates=True)[1]
    assert_equal(ours, peer(clips, mask, return_intermediates=True)[1])


# 256: windows of 14 do not divide 16 x 16 tokens. 448: they divide 28 x 28.
@pytest.mark.parametrize("size", [(256, 256), (448, 448), (384, 512)])
@pytest.mark.parametrize("name", SAM2)
@torch.no_grad()
def test_stage_ends_equal_the_sam2_trunk_of_timm(name: str, size: tuple[int, int]) -> None:
    peer = timm.create_model(SAM2[name], num_classes=0).eval()
    randomize(peer)
    trunk = copy_of(peer, name, {"head"})
    images = torch.randn(1, 3, *size)
    theirs = peer.forward_intermediates(images, output_fmt="NHWC", intermediates_only=True)
    assert_equal(trunk(images, return_intermediates=True)[1], theirs)
