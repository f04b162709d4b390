"""Files that are none of ours, options of the command, and how images and masks are resized."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.common import small_network
from support.training import run_in_process

from hiera_dense import Predictor
from hiera_dense.cli import export as command
from hiera_dense.errors import CheckpointError
from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.predict import export, onnx_model, pasting


def bare(path: Path, meta: str | None) -> Path:
    """An ONNX file that adds one, with metadata."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    node = helper.make_node("Neg", ["x"], ["y"])
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if meta is not None:
        helper.set_model_props(model, {onnx_model.KEY: meta})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (None, "an ONNX file of something else; expected a file that `hiera-dense export MODEL"),
        ("{", "its metadata are not JSON"),
        ("[]", "its metadata are not JSON"),
        (json.dumps(dict(format=99)), r"format 99; expected 1: export the model again"),
        (json.dumps(dict(format=1)), r"its metadata cannot be used \(KeyError: 'task'\)"),
        (json.dumps(dict(format=1, task="x")), r"cannot be used \(ValueError: task 'x'\)"),
    ],
)
def test_files_of_others_are_named(meta: str | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        Predictor(bare(tmp_path / "a.onnx", meta))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "a.onnx"
    with pytest.raises(FileNotFoundError, match=r"a.onnx: no such file; expected a model"):
        Predictor(path)
    path.write_bytes(b"no protobuf")
    with pytest.raises(CheckpointError, match=r"onnxruntime .* does not read it .*that is whole"):
        Predictor(path)


@pytest.mark.slow
def test_a_backbone_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    backbone = HieraBackbone(small_network(16, (1, 1, 2, 1))).eval()
    path = tmp_path / "a.onnx"
    export.write_onnx(export.export(backbone, 1, (64, 64)), backbone, path, opset=20)
    with pytest.raises(CheckpointError, match="holds a backbone; expected a detector or a segmen"):
        Predictor(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("out.onnx", "expected MODEL OUT.onnx, or OUT.onnx --arch ARCH for a backbone alone"),
        ("run out.onnx --arch tiny", "--arch tiny with the model run; expected one of them"),
        ("run out.pt2 --opset 20", "out.pt2: expected .onnx with --opset or --precision"),
        ("run out.onnx --size 64x64", "--size with the model run; expected them with --arch alone"),
        ("out.onnx --arch tiny --images .", "--images with a backbone; expected a whole model"),
        ("run a.onnx --precision int8", "expected --precision int8 and --calibrate FOLDER togeth"),
        ("run a.onnx --calibrate .", "expected --precision int8 and --calibrate FOLDER together"),
        ("a.onnx --arch tiny --precision float16", "--check or --precision with a backbone; exp"),
        ("a.onnx --arch tiny --check .", "--check or --precision with a backbone; expected a w"),
    ],
)
def test_options_that_do_not_go_together(
    line: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_in_process(monkeypatch, command.main, *line.split())
    assert message in capsys.readouterr().err


def test_images_are_resized_as_opencv_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (61, 83, 3), dtype=np.uint8)
    sizes = ((40, 90), (122, 166), (30, 41))
    with_opencv = [pasting.resized(image, size) for size in sizes]
    monkeypatch.setitem(sys.modules, "cv2", None)
    for size, theirs in zip(sizes, with_opencv, strict=True):
        ours = pasting.resized(image, size)
        assert ours.shape == (*size, 3)
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_masks_are_resized_as_pytorch_does() -> None:
    mask = torch.randn(1, 1, 16, 24)
    theirs = torch.nn.functional.interpolate(mask, (64, 96), mode="bilinear")[..., :60, :90]
    theirs = torch.nn.functional.interpolate(theirs, (123, 77), mode="bilinear")
    ours = pasting.resize_mask(mask[0, 0].numpy(), (64, 96), (60, 90), (123, 77))
    np.testing.assert_allclose(ours, theirs[0, 0], atol=1e-5)


@pytest.mark.parametrize(
    "box", [(3.2, 4.1, 30.7, 50.2), (-5, -3, 12, 9), (30, 20, 30, 20), (50, 60, 90, 99)]
)
def test_masks_are_pasted_as_mmdet_does(box: tuple[float, ...]) -> None:
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    mask, boxes = torch.rand(1, 1, 28, 28), torch.tensor([box], dtype=torch.float32)
    pasted, place = _do_paste_mask(mask, boxes, 64, 80, skip_empty=True)  # as on a CPU
    theirs = np.zeros((64, 80), bool)
    theirs[place] = (pasted[0] >= 0.5).numpy()
    ours = pasting.paste(mask[0, 0].numpy(), boxes[0].numpy(), (64, 80), 0.5)
    assert (ours.whole((64, 80)) == theirs).mean() > 0.999
