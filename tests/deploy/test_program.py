"""Whole models as .pt2, run with torch and torchvision alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.training import run_in_process

from hiera_dense import Predictor
from hiera_dense.cli import export as command
from hiera_dense.errors import CheckpointError

Of = Callable[[str], Path]
# As docs/deploy.md has it.
RUN = """
import json, sys
import numpy as np
import torch, torchvision
files = {{"hiera_dense": ""}}
program = torch.export.load({model!r}, extra_files=files)
network = program.module(check_guards=False)
image = torch.from_numpy(np.load({image!r})).permute(2, 0, 1)[None].contiguous()
inputs = [image] if {size!r} is None else [image, torch.tensor({size!r})]
with torch.no_grad():
    found = network(*inputs)
found = found if isinstance(found, tuple) else (found,)
np.savez({out!r}, *[value.numpy() for value in found])
heavy = ("hiera_dense", "timm", "mmengine", "mmcv", "mmdet", "mmseg", "onnxruntime")
print(json.loads(files["hiera_dense"])["task"], [name for name in heavy if name in sys.modules])
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < "2.9", reason="torch 2.9 or newer exports for any size")
@pytest.mark.parametrize(
    ("kind", "task"), [("upernet", "segmentation"), ("mask-rcnn", "instances")]
)
def test_a_program_predicts_what_pytorch_predicts(
    kind: str,
    task: str,
    checkpoint: Of,
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"{kind}.pt2"
    run_in_process(monkeypatch, command.main, checkpoint(kind), path)
    said = capsys.readouterr().out
    assert "PyTorch's" in said
    assert "licence of the weights: random weights: yours" in said
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(CheckpointError, match=r"\.pt2: .* is run with torch.export.load"):
        Predictor(path)

    predictor = Predictor(checkpoint(kind), score=0.0)
    picture = Image.open(sorted((toy / "instances" / "val").iterdir())[0]).convert("RGB")
    # Of the size that the network gets, so that nothing is left to resize.
    pixels = np.asarray(picture.resize((128, 128) if kind == "upernet" else (160, 160)))
    np.save(tmp_path / "image.npy", pixels)
    code = RUN.format(
        model=str(path),
        image=str(tmp_path / "image.npy"),
        size=list(pixels.shape[:2]) if kind == "upernet" else None,
        out=str(tmp_path / "found.npz"),
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert run.stdout.strip() == f"{task} []"
    found = list(np.load(tmp_path / "found.npz").values())
    expected = predictor(pixels)
    if kind == "upernet":
        assert (found[0] == expected.segmentation).mean() > 0.999
        return
    order = np.argsort(-found[1], kind="stable")
    np.testing.assert_allclose(found[1][order], expected.scores, atol=1e-5)
    np.testing.assert_allclose(found[0][order][:5], expected.boxes[:5], atol=1e-2)


def test_a_program_of_a_stranger_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    path.write_bytes(b"anything")
    with pytest.raises(CheckpointError, match=r"a\.pt2: .*expected FILE.onnx"):
        Predictor(path)
