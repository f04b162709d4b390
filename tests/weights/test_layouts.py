"""Layouts: each is recognised, and leads to our names and back without a changed bit."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from support import peers
from support.common import small_network
from torch import Tensor, nn

from hiera_dense.errors import CheckpointError
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.variants import ARCHS
from hiera_dense.weights.catalog import WEIGHTS
from hiera_dense.weights.layouts import LAYOUTS, recognise
from hiera_dense.weights.shapes import arch_of, fitting_archs
from hiera_dense.weights.state_dicts import choose

Make = Callable[[], nn.Module]


def peers_of(name: str) -> list[Make]:
    """The models, of all packages, that published weights are saved from."""
    arch = WEIGHTS[name].arch
    if "abswin" in name:
        return [lambda: peers.of_timm("hiera_small_abswin_256")]
    if "sam2" in name:
        return [lambda: peers.of_timm(f"sam2_hiera_{arch.removeprefix('sam2_')}", num_classes=0)]
    if "16x224" in name:
        build = peers.CLIPS if name.endswith("ft_k400") else peers.MAE_CLIPS
        return [lambda: build[arch]()]
    of_timm = lambda: peers.of_timm(f"hiera_{arch}_224")  # noqa: E731
    if name.endswith("ft_in1k"):
        theirs = [peers.IMAGES[arch], lambda: peers.of_transformers(arch, "classifier")]
        return [*theirs, of_timm]
    assert name.endswith(".mae_in1k"), f"{name}: expected a line above for such weights"
    theirs = [peers.MAE[arch], lambda: peers.of_transformers(arch, "mae")]
    return [*theirs, of_timm, lambda: peers.of_transformers(arch)]


@pytest.mark.parametrize("name", WEIGHTS)
def test_published_weights_are_recognised_as_those_of_their_arch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name and shape: every package's model on the meta device, which holds no values."""
    monkeypatch.setattr(peers, "randomize", lambda peer: None)
    # The original reads values of this while it builds, which the meta device has not.
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
    arch = WEIGHTS[name].arch
    with torch.device("meta"):
        names = {name: tensor.shape for name, tensor in Hiera(arch).state_dict().items()}
        for make in peers_of(name):
            content = recognise(choose(make().state_dict()).state)
            assert fitting_archs(content.trunk) == [arch]
            assert {n: t.shape for n, t in content.trunk.items()} == names


SHALLOW = small_network(16, (1, 2, 1, 1))
WIN = dict(kind="absolute_win", size=(7, 7))
TILED = dict(resize="tile", global_size=(7, 7))
FORMATS = {
    "fair": ("fair", SHALLOW),
    "timm": ("timm", SHALLOW),
    "timm, absolute win": ("timm", SHALLOW | dict(pos_embed=WIN, layer_scale=1.0)),
    "timm, without a linear shortcut": ("timm", SHALLOW | dict(pos_embed=WIN, expand_proj=False)),
    "timm, SAM 2": ("timm_hieradet", "sam2_tiny"),
    "sam2": ("sam2", "sam2_tiny"),
    "transformers": ("transformers", SHALLOW),
    "hiera_dense": ("hiera_dense", SHALLOW | dict(pos_embed=TILED)),
}


@pytest.mark.parametrize("case", FORMATS)
def test_to_a_layout_and_back_changes_no_bit(case: str) -> None:
    layout, arch = FORMATS[case]
    state = Hiera(arch).state_dict()
    content = recognise(LAYOUTS[layout](state))
    assert content.trunk.keys() == state.keys()
    assert not content.beside
    assert all(torch.equal(content.trunk[name], tensor) for name, tensor in state.items())


ORIGINALS: dict[str, tuple[str, Make]] = {
    "fair": ("fair", lambda: peers.fair(peers.IMAGES["tiny"])),
    "fair clips": ("fair", lambda: peers.fair(peers.CLIPS["base_16x224"], stages=(1, 1, 1, 1))),
    "timm": ("timm", lambda: peers.of_timm("hiera_tiny_224")),
    "timm, absolute win": ("timm", lambda: peers.of_timm("hiera_small_abswin_256")),
    "timm, SAM 2": ("timm_hieradet", lambda: peers.of_timm("sam2_hiera_tiny", num_classes=0)),
    "transformers": ("transformers", lambda: peers.of_transformers("tiny")),
}


@pytest.mark.parametrize("case", ORIGINALS)
def test_from_a_package_and_back_it_fits_that_package_again(case: str) -> None:
    layout, make = ORIGINALS[case]
    peer = make()
    theirs = peer.state_dict()
    content = recognise(theirs)
    back = LAYOUTS[layout](content.trunk)
    assert set(theirs) - set(back) == set(content.beside)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in back.items())
    heads = {name.split(".")[0] for name in peer.load_state_dict(back, strict=False).missing_keys}
    assert heads <= {"norm", "head", "pooler"}


@pytest.mark.parametrize(
    ("make", "layout", "left_over"),
    [
        (
            lambda: peers.of_transformers("tiny", "classifier"),
            "transformers Hiera classifier",
            {"hiera", "classifier"},
        ),
        (
            lambda: peers.of_transformers("tiny", "mae"),
            "transformers Hiera MAE",
            {"encoder_norm", "multiscale_fusion", "decoder"},
        ),
        (
            lambda: peers.fair(peers.MAE["tiny"]),
            "FAIR MAE, images",
            {"encoder_norm", "mask_token", "multi_scale_fusion_heads", "decoder_pos_embed"}
            | {"decoder_embed", "decoder_blocks", "decoder_norm", "decoder_pred"},
        ),
        (lambda: peers.of_timm("hiera_tiny_224"), "timm Hiera", {"head"}),
    ],
)
def test_what_stands_beside_the_trunk_is_told(make: Make, layout: str, left_over: set) -> None:
    content = recognise(make().state_dict())
    assert content.layout == layout
    assert {name.split(".")[0] for name in content.beside} == left_over
    assert all(group in content.left_over for group in left_over)


def in_a(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("prefix", "layout"),
    [
        ("backbone.trunk.", "hiera_dense detector or segmenter"),
        ("module.backbone.trunk.", "hiera_dense detector or segmenter"),
        ("trunk.", "hiera_dense detector or segmenter"),
        ("", "Hiera trunk"),
        ("encoder.", "Hiera trunk"),
    ],
)
def test_a_trunk_is_found_under_any_prefix(prefix: str, layout: str) -> None:
    state = Hiera(SHALLOW).state_dict()
    beside = {"neck.weight": torch.zeros(1)} if prefix else {}
    content = recognise(in_a(prefix, state) | beside)
    assert (content.prefix, content.layout) == (prefix, layout)
    assert content.trunk.keys() == state.keys()
    assert content.beside == beside


def test_of_several_trunks_one_must_be_named() -> None:
    state = Hiera(SHALLOW).state_dict()
    both = in_a("student.", state) | in_a("teacher.", state)
    with pytest.raises(CheckpointError, match=r"under 'student\.', 'teacher\.'; expected a prefix"):
        recognise(both)
    assert recognise(both, "teacher.").prefix == "teacher."


def test_other_networks_are_no_hiera() -> None:
    with pytest.raises(CheckpointError, match=r"no Hiera trunk in it: .*; it has conv1.weight, fc"):
        recognise({"conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="no weights in it, but epoch, model; expected"):
        choose({"epoch": 3, "model": "a string"})


@pytest.mark.parametrize(
    ("layout", "extras", "message"),
    [
        ("fair", dict(pos_embed=WIN), "Hiera's layout has no pos_embed_window"),
        ("fair", dict(layer_scale=1.0), r"no blocks.0.ls1.gamma, blocks.0.ls2.gamma, .* 7 more"),
        ("timm", dict(pos_embed=TILED), "timm's layout has no pos_embed_global"),
        ("sam2", {}, "layout has pos_embed_window, and this trunk has not"),
        ("fair", dict(expand_proj=False), "linear shortcuts, and this trunk has none"),
        ("transformers", dict(pos_embed=WIN), "transformers' layout has no pos_embed_window"),
    ],
)
def test_a_layout_that_cannot_hold_a_trunk_says_so(layout: str, extras: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        LAYOUTS[layout](Hiera(SHALLOW | extras).state_dict())


def test_windows_decide_which_class_of_timm_it_is() -> None:
    with pytest.raises(CheckpointError, match="expected layout timm_hieradet"):
        LAYOUTS["timm"](Hiera("sam2_tiny").state_dict())


def test_two_names_for_one_parameter_are_refused() -> None:
    state = Hiera(SHALLOW | dict(pos_embed=WIN)).state_dict()
    state["pos_embed_win"] = state["pos_embed_window"]
    with pytest.raises(CheckpointError, match="both stand for pos_embed_window"):
        recognise(state)


def test_swin_of_mmdet_is_not_taken_for_sam2() -> None:
    with pytest.raises(CheckpointError, match="no Hiera trunk"):
        recognise({"backbone.patch_embed.projection.weight": torch.zeros(96, 3, 4, 4)})


@pytest.mark.parametrize("name", ARCHS)
def test_shapes_tell_an_arch_that_takes_them(name: str) -> None:
    with torch.device("meta"):
        state = Hiera(name).state_dict()
        again = Hiera(arch_of(state)).state_dict()
    assert {n: t.shape for n, t in again.items()} == {n: t.shape for n, t in state.items()}


def test_a_missing_layer_of_transformers_does_not_move_the_others() -> None:
    state = LAYOUTS["transformers"](Hiera(SHALLOW).state_dict())
    less = {n: t for n, t in state.items() if not n.startswith("encoder.stages.1.layers.0.")}
    trunk = recognise(less).trunk
    assert {n.split(".")[1] for n in trunk if n.startswith("blocks")} == {"0", "2", "3", "4"}


def test_archs_have_different_traits() -> None:
    """Else weights would seem to fit an arch that they are not for."""
    with torch.device("meta"):
        for name in ARCHS:
            assert fitting_archs(Hiera(name).state_dict()) == [name]
