"""The masked autoencoder: equal to the original and to transformers, any size, masks, pictures."""

from functools import partial
from pathlib import Path

import hiera
import pytest
import torch
from support import peers
from support.common import randomize, relative_error, small_network
from torch import nn

from hiera_dense.model.hiera import Hiera
from hiera_dense.model.mae import MaskedAutoencoder, Reconstruction
from hiera_dense.model.variants import ARCHS
from hiera_dense.weights.load import load_pretrained

pytestmark = pytest.mark.slow

SMALL = small_network(16, (1, 2, 2, 2))
CLIPS = dict(
    patch_kernel=(3, 7, 7), patch_stride=(2, 4, 4), patch_padding=(1, 3, 3), q_stride=(1, 2, 2)
)
DECODER = dict(decoder_depth=2, decoder_num_heads=4)


def small_peer(size: tuple[int, ...]) -> nn.Module:
    """A small model of the original for images or clips of a size."""
    axes = dict(mask_unit_size=(1, 8, 8), sep_pos_embed=True, **CLIPS) if len(size) == 3 else {}
    decoder = dict(decoder_embed_dim=32, **DECODER)
    peer = hiera.MaskedAutoencoderHiera(input_size=size, q_pool=2, **SMALL, **axes, **decoder)
    randomize(peer)
    return peer


def small(size: tuple[int, ...]) -> MaskedAutoencoder:
    """Ours of the same shapes."""
    stride = (2, 4, 4)[-len(size) :]
    table = tuple(n // s for n, s in zip(size, stride, strict=True))
    arch = SMALL | dict(pos_embed=dict(size=table))
    if len(size) == 3:
        kind = dict(kind="separable", size=table)
        arch = SMALL | CLIPS | dict(mask_unit=(1, 8, 8), pos_embed=kind)
    decoder = (*table[:-2], table[-2] // 4, table[-1] // 4)
    return MaskedAutoencoder(arch, decoder_dim=32, decoder_size=decoder, **DECODER)


def errors(ours: Reconstruction, theirs: tuple) -> list[float]:
    assert torch.equal(ours.mask, theirs[3])
    return [relative_error(a, b) for a, b in zip(ours[:3], theirs[:3], strict=True)]


@pytest.mark.parametrize("size", [(64, 96), (160, 64), (8, 64, 96)], ids=str)
def test_everything_equals_the_original(size: tuple[int, ...]) -> None:
    """Loss, prediction, label, mask and all gradients, in float64."""
    peer, ours = small_peer(size).double(), small(size).double()
    ours.load_state_dict(peer.state_dict())
    inputs = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.manual_seed(5)
    theirs = peer(inputs, mask_ratio=0.6)
    torch.manual_seed(5)
    result = ours(inputs, mask_ratio=0.6)
    assert max(errors(result, theirs)) < 1e-9
    theirs[0].backward()
    result.loss.backward()
    grads = {name: p.grad for name, p in peer.named_parameters()}
    worst = max(relative_error(p.grad, grads[name]) for name, p in ours.named_parameters())
    assert worst < 1e-9


FULL = ("tiny", "base_plus", "base_16x224")


@pytest.mark.parametrize("name", [*peers.MAE, *peers.MAE_CLIPS])
@torch.no_grad()
def test_published_models_equal_the_original(name: str, tmp_path: Path) -> None:
    builders = peers.MAE | peers.MAE_CLIPS
    build = partial(peers.few_blocks, name, hiera.MaskedAutoencoderHiera, q_pool=2)
    peer = peers.fair(builders[name] if name in FULL else build)
    arch = name if name in FULL else peers.few_blocks_of_ours(name)
    ours = MaskedAutoencoder(arch).eval()
    report = load_pretrained(ours, peers.save_fair(peer, tmp_path))
    assert report.filled == len(ours.state_dict())
    is_clip = name in peers.MAE_CLIPS
    inputs = torch.randn(1, 3, *((16, 224, 224) if is_clip else (224, 224)))
    mask = ours.get_random_mask(inputs, 0.9 if is_clip else 0.6)
    assert max(errors(ours(inputs, mask=mask), peer(inputs, mask=mask))) < 1e-4


@torch.no_grad()
def test_loss_equals_transformers(tmp_path: Path) -> None:
    """Its mask comes from noise: the units with the smallest are kept."""
    peer = peers.of_transformers("tiny", "mae")
    ours = MaskedAutoencoder("tiny").eval()
    report = load_pretrained(ours, peers.save_transformers(peer, tmp_path))
    assert report.filled == len(ours.state_dict())
    images, noise = torch.randn(2, 3, 224, 224), torch.rand(2, 49)
    mask = noise.argsort(1).argsort(1) < int(49 * 0.4)
    theirs = peer(images, noise=noise)
    result = ours(images, mask=mask)
    assert relative_error(result.loss, theirs.loss) < 1e-5


def test_masks_are_those_of_the_original() -> None:
    images = torch.zeros(3, 3, 64, 96)
    peer, ours = small_peer((64, 96)), small((64, 96))
    torch.manual_seed(7)
    theirs = peer.get_random_mask(images, 0.6)
    torch.manual_seed(7)
    mask = ours.get_random_mask(images, 0.6)
    assert torch.equal(mask, theirs)
    assert mask.sum(1).tolist() == [2, 2, 2]
    again = [ours.get_random_mask(images, 0.5, torch.Generator().manual_seed(1)) for _ in "ab"]
    assert torch.equal(*again)


def test_ratios_of_images_and_clips() -> None:
    images, clips = torch.randn(1, 3, 160, 64), torch.randn(1, 3, 8, 64, 160)
    assert small((64, 96))(images).mask.sum() == int(10 * 0.4)
    assert small((8, 64, 96))(clips).mask.sum() == int(40 * (1 - 0.9))


def test_initial_values_are_distributed_as_the_originals() -> None:
    peer, ours = hiera.mae_hiera_tiny_224(), MaskedAutoencoder("tiny")
    theirs = dict(peer.named_parameters())
    for name, param in ours.state_dict().items():
        expected = theirs[name].detach()
        assert param.shape == expected.shape
        if expected.std() == 0 or expected.numel() < 2:
            assert torch.equal(param, expected), name
        elif expected.numel() >= 512:
            assert param.std() == pytest.approx(expected.std().item(), rel=0.15), name
            assert param.abs().max() < 2 * expected.abs().max(), name


@pytest.mark.parametrize("size", [(32, 64), (96, 352), (224, 320)])
@torch.no_grad()
def test_other_sizes(size: tuple[int, int]) -> None:
    """Tables of 64 x 96 px follow; the decoder's bicubically."""
    ours = small((64, 96)).eval()
    images = torch.randn(2, 3, *size)
    result = ours(images, mask_ratio=0.5)
    units = size[0] * size[1] // 32**2
    assert result.pred.shape == (2 * (units - units // 2) * 4, 16 * 16 * 3)
    assert result.loss.isfinite()


@torch.no_grad()
def test_decoder_positions_are_resized_bicubically() -> None:
    ours = small((64, 96)).eval()
    images = torch.randn(1, 3, 128, 96)
    mask = ours.get_random_mask(images, 0.5)
    fixed = MaskedAutoencoder(
        SMALL | dict(pos_embed=dict(size=(16, 24))), decoder_dim=32, decoder_size=(8, 6), **DECODER
    ).eval()
    state = ours.state_dict()
    table = state["decoder_pos_embed"].reshape(1, 4, 6, 32).permute(0, 3, 1, 2)
    resized = nn.functional.interpolate(table, (8, 6), mode="bicubic", align_corners=False)
    state["decoder_pos_embed"] = resized.flatten(2).transpose(1, 2)
    fixed.load_state_dict(state)
    assert relative_error(ours(images, mask=mask).pred, fixed(images, mask=mask).pred) < 1e-5


@pytest.mark.parametrize("name", ["small_abswin", "sam2_tiny", "sam2_small"])
def test_every_family_can_be_pretrained_and_becomes_its_backbone(name: str, tmp_path: Path) -> None:
    """Windows of 14 or 16 are for other work; weights do not depend on them."""
    ours = MaskedAutoencoder(name, decoder_dim=32, **DECODER)
    assert ours.arch.window_spec == (8, 4, 0, 0)
    ours(torch.randn(1, 3, 64, 96), mask_ratio=0.5).loss.backward()
    unused = [n for n, p in ours.named_parameters() if p.grad is None]
    assert not unused
    ours.save_pretrained(tmp_path)
    trunk = Hiera(name)
    report = load_pretrained(trunk, tmp_path)
    assert report.filled == len(trunk.state_dict())
    assert trunk.arch.window_spec == ARCHS[name].window_spec
    for key, tensor in trunk.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[key])


def test_windows_that_follow_the_mask_unit_stay() -> None:
    arch = SMALL | dict(window_spec=(8, 4, 2, 1))
    assert MaskedAutoencoder(arch).arch.window_spec == (8, 4, 2, 0)


def test_relative_position_is_left_to_the_backbone() -> None:
    """Its tables are for whole images; weights that were pretrained without them load."""
    arch = SMALL | dict(rel_pos=(24, 24))
    model = MaskedAutoencoder(arch, decoder_dim=32, **DECODER)
    assert not [name for name, _ in model.named_parameters() if "rel_pos" in name]
    assert model(torch.randn(1, 3, 64, 64), mask_ratio=0.5).loss.isfinite()


@pytest.mark.parametrize("size", [(64, 96), (8, 64, 96)], ids=str)
@torch.no_grad()
def test_true_pixels_make_the_image_again(size: tuple[int, ...]) -> None:
    ours = small(size).double().eval()
    inputs = torch.rand(2, 3, *size, dtype=torch.float64)
    result = ours(inputs, mask_ratio=0.5)
    seen, predicted = ours.reconstruct(inputs, result.label, result.mask)
    frames = inputs[:, :, ::2] if len(size) == 3 else inputs
    assert relative_error(predicted, frames) < 1e-9
    units = (
        result.mask.reshape(2, 1, *(n // 32 for n in frames.shape[-2:])) if len(size) == 2 else None
    )
    if units is not None:
        pixels = units.repeat_interleave(32, 2).repeat_interleave(32, 3)
        assert torch.equal(seen, frames * pixels)
    assert (seen == 0).any()


def test_checkpointing_changes_no_gradient() -> None:
    plain = small((64, 96))
    saving = MaskedAutoencoder(
        SMALL | dict(pos_embed=dict(size=(16, 24))),
        with_cp=True,
        decoder_dim=32,
        decoder_size=(4, 6),
        **DECODER,
    )
    saving.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    mask = plain.get_random_mask(images, 0.5)
    for model in (plain, saving):
        model.double()(images, mask=mask).loss.backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_autocast_computes_the_loss_in_float32() -> None:
    images = torch.randn(1, 3, 64, 96)
    ours = small((64, 96))
    mask = ours.get_random_mask(images, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        result = ours(images, mask=mask)
    assert result.loss.dtype == result.label.dtype == result.pred.dtype == torch.float32
    assert relative_error(result.loss, ours(images, mask=mask).loss) < 0.02


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(mask_ratio=1.0), "mask_ratio 1.0 keeps 0 of 6 units; expected some"),
        (dict(mask_ratio=-1.0), "mask_ratio -1.0 keeps 12 of 6 units"),
        (dict(mask_ratio=0.0), "mask keeps every unit; expected some to predict"),
        (dict(mask=torch.ones(1, 5, dtype=torch.bool)), r"expected \(1, 6\), torch.bool"),
    ],
)
def test_a_bad_mask_is_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small((64, 96))(torch.zeros(1, 3, 64, 96), **kwargs)


def test_a_size_that_is_no_multiple_of_a_mask_unit_is_named() -> None:
    with pytest.raises(ValueError, match=r"masked input of size \(64, 100\); expected multiples"):
        small((64, 96))(torch.zeros(1, 3, 64, 100))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(decoder_depth=0), "decoder_depth 0; expected an int, 1 or more"),
        (dict(decoder_dim=30), "width 30; expected heads that divide the width, such as 1, 2"),
        (dict(decoder_num_heads=0), "decoder_num_heads 0; expected an int, 1 or more"),
        (dict(decoder_size=(8, 14, 14)), r"decoder_size \(8, 14, 14\); expected a tuple of 2 ints"),
        (dict(arch=SMALL | dict(stages=(2,), window_spec=(8,))), "expected 2 or more to pretrain"),
    ],
)
def test_a_bad_setting_is_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedAutoencoder(**{"arch": SMALL, **kwargs})
