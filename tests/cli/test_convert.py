"""`hiera-dense convert`, as a user calls it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from support import peers
from support.common import Runs, small_network

from hiera_dense.cli import convert as command
from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.model.hiera import Hiera
from hiera_dense.weights import files
from hiera_dense.weights.catalog import PERMISSIVE
from hiera_dense.weights.load import load_pretrained


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(*args: str | Path) -> None:
        monkeypatch.setattr(sys, "argv", ["hiera-dense convert", *map(str, args)])
        command.main()

    return run


def test_a_file_of_the_original_becomes_one_of_ours_and_leaves_again(
    convert: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = peers.fair(peers.MAE["tiny"])
    source = peers.save_fair(peer, tmp_path)
    ours = tmp_path / "ours.safetensors"
    convert(source, ours, "--licence", PERMISSIVE)
    assert "not used: mask_token (1)" in capsys.readouterr().out
    with safe_open(ours, "pt") as file:
        assert file.metadata() == dict(
            source=str(source), licence=PERMISSIVE, arch="tiny", layout="hiera_dense"
        )
    trunk = Hiera("tiny")
    assert load_pretrained(trunk, ours, permissive_only=True).licence == PERMISSIVE
    with pytest.raises(SystemExit, match=f"has the licence {PERMISSIVE}"):
        convert(ours, tmp_path / "other.safetensors", "--licence", "MIT")
    assert torch.equal(trunk.pos_embed, peer.pos_embed)
    convert(ours, tmp_path / "back.pth", "--to", "fair")
    back = torch.load(tmp_path / "back.pth", weights_only=True)["model_state"]
    assert all(torch.equal(tensor, peer.state_dict()[name]) for name, tensor in back.items())
    for layout in ("timm", "transformers"):
        path = tmp_path / f"{layout}.safetensors"
        convert(ours, path, "--to", layout)
        load_pretrained(trunk, path)


SAVED: dict[str, tuple[Callable[[], torch.nn.Module], Callable[..., Path], list[str]]] = {
    "FAIR": (
        lambda: peers.fair(peers.IMAGES["tiny"]),
        peers.save_fair,
        [
            "layout         FAIR classifier, images",
            "arch           tiny",
            "not used       norm (2), h",
        ],
    ),
    "FAIR clips": (
        lambda: peers.fair(peers.CLIPS["base_16x224"]),
        peers.save_fair,
        ["FAIR classifier, clips", "arch           base_16x224", "pos_embed_temporal (1, 8, 96)"],
    ),
    "timm": (
        lambda: peers.of_timm("hiera_small_abswin_256"),
        peers.save_bare,
        ["timm Hiera, absolute win", "small_abswin", "pos_embed_window (1, 96, 8, 8)"],
    ),
    "FAIR MAE": (
        lambda: peers.fair(peers.MAE["tiny"]),
        peers.save_fair,
        ["FAIR MAE, images", "positions      pos_embed (1, 3136, 96)", "decoder_blocks (96)"],
    ),
    "timm, plain": (
        lambda: peers.of_timm("hiera_tiny_224"),
        peers.save_bare,
        ["layout         timm Hiera\n", "not used       head (4)"],
    ),
    "timm, HieraDet": (
        lambda: peers.of_timm("sam2_hiera_tiny", num_classes=0),
        peers.save_bare,
        ["layout         timm HieraDet\n", "arch           sam2_tiny"],
    ),
    "a backbone of ours": (
        lambda: HieraBackbone("tiny"),
        peers.save_bare,
        ["layout         hiera_dense backbone, under 'trunk.'", "norm0 (2), norm1 (2)"],
    ),
    "SAM 2": (
        lambda: peers.of_timm("sam2_hiera_tiny", num_classes=0),
        peers.save_sam2,
        ["SAM 2, under 'image_encoder.trunk.'", "image_encoder (1), sam_mask_decoder (1)"],
    ),
    "transformers": (
        lambda: peers.of_transformers("tiny", "classifier"),
        peers.save_transformers,
        ["transformers Hiera classifier, under 'hiera.'", "says format    pt"],
    ),
    "transformers, SAM 2": (
        peers.sam2_of_transformers,
        peers.save_transformers,
        ["layout         transformers SAM 2\n", "arch           sam2_tiny"],
    ),
}


@pytest.mark.parametrize("name", SAVED)
def test_info_tells_what_a_file_is(
    name: str, convert: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, save, facts = SAVED[name]
    path = save(make(), tmp_path)
    convert("--info", path)
    told = capsys.readouterr().out
    assert told.startswith(f"{path}\n")
    assert "all values finite" in told
    assert all(fact in told for fact in facts), told


def test_bad_input_is_named_and_nothing_is_written(
    convert: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = Hiera("tiny").state_dict()
    out = tmp_path / "out.safetensors"
    torch.save(dict(state, x=Runs(tmp_path / "ran")), tmp_path / "code.pth")
    for name, missing in (("a", "blocks.3.attn.proj.bias"), ("b", "blocks.3.norm2.weight")):
        less = {n: tensor for n, tensor in state.items() if n != missing}
        torch.save(less, tmp_path / f"{name}.pth")
    torch.save(dict(state, pos_embed=state["pos_embed"] * float("nan")), tmp_path / "nan.pth")
    torch.save(state, tmp_path / "whole.pth")
    for args, message in (
        ((tmp_path / "code.pth", out), "refused, since loading it could run code"),
        ((tmp_path / "a.pth", out), "missing: blocks.3.attn.proj.bias"),
        ((tmp_path / "b.pth", out), "not the weights of this trunk"),
        ((tmp_path / "nan.pth", out), "NaN or infinity in pos_embed"),
        ((tmp_path / "none.pth", out), "none.pth: no such file"),
        ((tmp_path / "whole.pth", out, "--to", "sam2"), "layout has pos_embed_window"),
    ):
        with pytest.raises(SystemExit, match=message):
            convert(*args)
    for args, message in (
        ((tmp_path / "whole.pth", tmp_path / "a.pth"), "a.pth: exists"),
        ((tmp_path / "whole.pth", tmp_path / "out.onnx"), "expected .safetensors, .pth, .pt"),
        ((tmp_path / "whole.pth",), "expected either a destination or --info"),
    ):
        with pytest.raises(SystemExit):
            convert(*args)
        assert message in capsys.readouterr().err
    assert not out.exists()
    assert not (tmp_path / "ran").exists()
    convert("--info", tmp_path / "nan.pth")
    assert "NaN or infinity in pos_embed" in capsys.readouterr().out


def test_a_trunk_of_no_known_arch_is_converted_too(
    convert: Callable[..., None], tmp_path: Path
) -> None:
    trunk = Hiera(small_network(8, (1, 1, 1, 1)))
    torch.save(trunk.state_dict(), tmp_path / "own.pth")
    convert(tmp_path / "own.pth", tmp_path / "own.safetensors")
    content, metadata = files.read(tmp_path / "own.safetensors")
    assert content.keys() == trunk.state_dict().keys()
    assert "arch" not in metadata
