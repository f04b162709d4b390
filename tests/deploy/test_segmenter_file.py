"""UperNet as a file: beside PyTorch, without torch, in float16 and int8, and by the command."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.training import run_in_process

from hiera_dense import Predictor
from hiera_dense.cli import export as command
from hiera_dense.deploy import check
from hiera_dense.deploy import export as writing
from hiera_dense.errors import SetupError
from hiera_dense.mm.trained import read_trained
from hiera_dense.predict.hosts import HostModel
from hiera_dense.predict.onnx_model import OnnxModel

Of = Callable[[str], Path]
KIND = "upernet"  # of support/small_models.py
pytestmark = pytest.mark.slow


def test_a_file_labels_pixels_as_pytorch_does(exported: Of, compared: Callable) -> None:
    sums = compared(KIND, exported(KIND))
    assert sums.is_equal, str(sums)


def test_a_wrong_graph_is_refused(
    exported: Of, compared: Callable, resizing_wrongly: Callable
) -> None:
    assert not compared(KIND, resizing_wrongly(exported(KIND))).is_equal


def test_a_file_runs_without_torch_and_the_hosts(exported: Of, runs_alone: Callable) -> None:
    assert runs_alone(exported(KIND)) == []


def test_options_of_a_file_are_checked(exported: Of) -> None:
    path = exported(KIND)
    for options, message in (
        (dict(tta=True), "tta with .*expected none of them with an exported model"),
        (dict(tile=256, half=True), "half, tile with "),
        (dict(weights="a.pth"), "weights with "),
        (dict(device="tpu"), "device 'tpu'; expected cpu, or cuda with onnxruntime-gpu"),
    ):
        with pytest.raises(SetupError, match=message):
            Predictor(path, **options)


@pytest.mark.parametrize(("name", "share"), [("float16", 0.998), ("int8", 0.95)])
def test_a_smaller_file_labels_nearly_the_same(
    name: str, share: float, exported: Of, lowered: Callable, nearly: Callable
) -> None:
    sums = nearly(exported(KIND), lowered(exported(KIND), name))
    assert sums.share >= share, str(sums)


def test_scores_on_data_are_those_of_pytorch(
    checkpoint: Of, exported: Of, lowered: Callable, toy: Path
) -> None:
    trained = read_trained(checkpoint(KIND))
    data = check.read_data(str(toy / "segments"), "segmentation", trained.classes)
    files = {"float32": exported(KIND), "float16": lowered(exported(KIND), "float16")}
    models = {name: OnnxModel(path) for name, path in files.items()}
    lines = check.check(data, HostModel(trained, "cpu"), models).splitlines()
    assert lines[0] == f"3 images of {toy / 'segments'}, in percent:"
    assert lines[1].split() == ["PyTorch", "float32", "float16"]
    assert [line[:7].strip() for line in lines[2:]] == ["mIoU"]


def test_the_command_writes_and_checks(
    checkpoint: Of,
    exported: Of,
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, out, data = exported(KIND), tmp_path / "a.onnx", toy / "segments"
    # The graph was written once already.
    monkeypatch.setattr(writing, "write_onnx", lambda graph, path, opset: shutil.copy(whole, path))
    options = ["--precision", "int8", "--calibrate", toy / "instances" / "train", "--check", data]
    capsys.readouterr()
    run_in_process(monkeypatch, command.main, checkpoint(KIND), out, *options)
    said = capsys.readouterr().out
    assert "of pixels have PyTorch's label" in said
    assert "int8: " in said
    assert "of pixels have float32's label" in said
    assert "PyTorch  float32" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert Predictor(out).task == "segmentation"
