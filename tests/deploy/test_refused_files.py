"""Files that onnxruntime is too old for, images that a file does not take, and full disks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.training import run_in_process

from hiera_dense import Predictor
from hiera_dense.cli import export as command
from hiera_dense.errors import DataError, SetupError
from hiera_dense.predict.onnx_model import OnnxModel

Of = Callable[[str], Path]
ON_A_SMALL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from hiera_dense.__main__ import main
sys.argv = ["hiera-dense", *sys.argv[1:]]
main()
"""


def bare(path: Path, ir_version: int, opset: int, operator: str = "Neg") -> Path:
    """An ONNX file of one operator."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"
    ]
    node = onnx.helper.make_node(operator, ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    model.ir_version = ir_version
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("ir_version", "opset", "said"),
    [(99, 20, "model IR version: 99"), (10, 99, "Opset 99")],
)
def test_files_newer_than_onnxruntime_are_named(
    ir_version: int, opset: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(
        SetupError, match=rf"onnxruntime \S+ is older than the file needs \(.*{said}.*; expected "
    ):
        Predictor(bare(tmp_path / "a.onnx", ir_version, opset))


@pytest.mark.slow
def test_images_that_a_file_does_not_take_are_named(exported: Of) -> None:
    with pytest.raises(DataError, match=r"1 x 4000 px cannot be prepared .*usual sides"):
        Predictor(exported("mask-rcnn"))(np.zeros((1, 4000, 3), np.uint8))
    model = OnnxModel(exported("upernet"))
    with pytest.raises(DataError, match=r"does not take an image of 40 x 50 px .*onnxruntime: "):
        model.run(["labels"], {"image": np.zeros((1, 5, 40, 50), np.uint8)})


@pytest.mark.slow
def test_no_room_and_an_older_file_leave_what_was_there(
    checkpoint: Of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    # Of ONNX: tests/cli/test_writing.py.
    arguments = ["export", str(checkpoint("upernet")), str(tmp_path / "a.pt2")]
    run = subprocess.run(
        [sys.executable, "-c", ON_A_SMALL_DISK, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert "a.pt2: cannot be written: File too large" in last, run.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []
    older = tmp_path / "a.onnx"
    older.write_bytes(b"older")
    with pytest.raises(SystemExit):
        run_in_process(monkeypatch, command.main, checkpoint("upernet"), older)
    assert older.read_bytes() == b"older"
