"""`hiera-dense export`, as a user calls it: what it writes computes what PyTorch does."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from support import peers
from support.common import randomize, relative_error, small_network

from hiera_dense import Predictor
from hiera_dense.cli import export as command
from hiera_dense.errors import CheckpointError
from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.model import variants
from hiera_dense.model.arch import Arch
from hiera_dense.predict import export
from hiera_dense.predict.exported import KEY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        torch.__version__ < "2.9", reason="torch 2.9 or newer exports graphs for any size"
    ),
]

SMALL = small_network(16, (1, 1, 2, 1))
SIZES = [(1, 224, 224), (3, 64, 96), (1, 512, 416)]
Tool = Callable[..., None]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Tool:
    """The tool, with two small archs among those it knows."""
    win = Arch(**SMALL, pos_embed=variants.PosEmbed("absolute_win"))
    archs: Mapping[str, Arch] = {**variants.ARCHS, "small": Arch(**SMALL), "small_win": win}
    monkeypatch.setattr(variants, "ARCHS", archs)

    def run(*args: str | Path) -> None:
        monkeypatch.setattr(sys, "argv", ["hiera-dense export", *map(str, args)])
        command.main()

    return run


def trained(folder: Path, **settings: Any) -> tuple[HieraBackbone, Path]:
    """A backbone without zeros, and its weights as the file of a detector."""
    backbone = HieraBackbone(**settings).eval()
    randomize(backbone)
    detector = torch.nn.ModuleDict(dict(backbone=backbone))
    return backbone, peers.save_bare(detector, folder)


def require_equal(path: Path, backbone: HieraBackbone, *shapes: tuple[int, ...]) -> None:
    run = export.read(path)
    for batch, *size in shapes:
        image = torch.randn(batch, backbone.trunk.in_channels, *size)
        with torch.no_grad():
            for theirs, ours in zip(run(image), backbone(image), strict=True):
                assert relative_error(theirs, ours) < 1e-4


def test_onnx_of_any_size(tool: Tool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    backbone, weights = trained(tmp_path, arch=SMALL)
    path = tmp_path / "any.onnx"
    tool(path, "--arch", "small", "--weights", weights, "--out-norm")
    said = capsys.readouterr().out
    assert said.startswith(f"{path}: differs from PyTorch by ")
    assert said.endswith(f"licence of the weights: unknown: began from {weights.name}\n")
    assert "(1 x 3 x 224 x 224 and 1 x 3 x 256 x 352)" in said
    require_equal(path, backbone, *SIZES)
    session = onnxruntime.InferenceSession(path)
    (image,) = session.get_inputs()
    assert (image.name, image.shape) == ("image", ["batch", 3, "height", "width"])
    meta = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    told = {key: meta[key] for key in ("task", "arch", "strides", "size", "divisor", "mean")}
    assert told == dict(
        task="backbone", arch="small", strides=[4, 8, 16, 32], size=None, divisor=32, mean=None
    )
    with pytest.raises(CheckpointError, match=r"the backbone small alone, .*; expected a det"):
        Predictor(path)
    maps = {value.name: value.shape for value in session.get_outputs()}
    assert list(maps) == ["stage0", "stage1", "stage2", "stage3"]
    assert maps["stage3"] == ["batch", 128, "height/32", "width/32"]
    # Another network than the one in the file: the check tells.
    backbone.trunk.blocks[0].attn.proj.weight.data.neg_()
    with pytest.raises(RuntimeError, match=r"any.onnx differs from PyTorch by .*it was not kept"):
        export.check(path, backbone, [(1, 3, 64, 64)])


def test_windows_that_need_padding_and_relative_position(tmp_path: Path) -> None:
    """One graph, with onnxruntime and with PyTorch."""
    backbone, _ = trained(
        tmp_path,
        arch=SMALL,
        window_spec=(8, 4, 14, 7),
        global_att_blocks=(2, 3),
        pos_embed=dict(kind="absolute_win"),
        rel_pos=(56, 56),
    )
    program = export.export(backbone, None, None)
    torch.export.save(program, tmp_path / "any.pt2")
    require_equal(tmp_path / "any.pt2", backbone, *SIZES)
    pytest.importorskip("onnxruntime")
    export.write_onnx(program, backbone, tmp_path / "any.onnx", opset=20)
    require_equal(tmp_path / "any.onnx", backbone, *SIZES)


def test_one_size_with_windows_that_follow_the_image(tool: Tool, tmp_path: Path) -> None:
    plan = dict(window_spec="auto", in_channels=4, out_indices=(1, 2), out_norm=False)
    arch = {**SMALL, "pos_embed": dict(kind="absolute_win")}
    backbone, weights = trained(tmp_path, arch=arch, **plan)
    path = tmp_path / "one.pt2"
    options = "--window-spec auto --in-channels 4 --out-indices 1,2 --size 192x320 --batch 2"
    tool(path, "--arch", "small_win", "--weights", weights, *options.split())
    require_equal(path, backbone, (2, 192, 320))
    files = {KEY: ""}
    torch.export.load(path, extra_files=files)
    meta = json.loads(files[KEY])
    assert (meta["size"], meta["channels"], meta["strides"]) == ([192, 320], 4, [8, 16])


def test_published_weights_have_their_licence_and_colours() -> None:
    backbone = HieraBackbone(SMALL)
    name = "hiera_tiny_224.mae_in1k"
    meta = export.meta_of(backbone, "tiny", None, name)
    assert (meta["licence"], meta["began_from"]) == ("CC BY-NC 4.0", name)
    assert (meta["mean"], meta["std"]) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    assert export.meta_of(backbone, "tiny", None, None)["licence"] == "random weights: yours"


BAD_VALUES = {
    "net.pt --arch small": "net.pt: expected .onnx or .pt2",
    "there.onnx --arch small": "there.onnx: exists",
    "net.pt2 --arch small --size 200x320": "'200x320'; expected HEIGHTxWIDTH, both multiples of 32",
    "net.pt2 --arch small --size 224": "'224'; expected HEIGHTxWIDTH, both multiples of 32 px",
    "net.pt2 --arch small --batch 0": "'0'; expected a number from 1 on, or any",
    "net.pt2 --arch small --window-spec 8,x": "'8,x'; expected whole numbers with commas between",
    "net.onnx --arch small --opset 26": "invalid choice: 26",
}
BAD_NETWORKS = {
    "--arch none": "unknown arch 'none'; expected tiny, small,",
    "--arch base_16x224": "--arch base_16x224: is for clips; expected one for images",
    "--arch small --window-spec auto": "expected --size HEIGHTxWIDTH with it, or a number for each",
    "--arch small --window-spec 8,4": "expected one for each of the 4 stages",
    "--arch small --out-indices 4": "expected some of 0 to 3, in order",
    "--arch small --weights none.pth": "none.pth: no such file",
    "--arch tiny --weights weights.pth": "not the weights of this trunk",
}


@pytest.mark.parametrize("line", BAD_VALUES)
def test_bad_values_are_named(
    line: str,
    tool: Tool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.onnx").touch()
    with pytest.raises(SystemExit):
        tool(*line.split())
    assert BAD_VALUES[line] in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]


@pytest.mark.parametrize("line", BAD_NETWORKS)
def test_networks_that_cannot_be_are_named(
    line: str, tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(HieraBackbone(SMALL).state_dict(), "weights.pth")
    with pytest.raises(SystemExit, match=BAD_NETWORKS[line]):
        tool("net.pt2", *line.split())
    assert not Path("net.pt2").exists()


def test_what_is_not_installed_is_named(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (command, export):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"needs onnx and onnxscript; expected these .*or a .pt2"):
        tool(tmp_path / "net.onnx", "--arch", "small")
    said = export.check(tmp_path / "net.onnx", HieraBackbone(SMALL), [(1, 3, 64, 64)])
    assert said == "not compared with PyTorch, since onnxruntime is not installed"
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.5.1+cpu"))
    with pytest.raises(SystemExit, match=r"torch 2.5.1\+cpu; expected 2.9 or newer to export"):
        tool(tmp_path / "net.pt2", "--arch", "small")
