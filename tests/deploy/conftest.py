"""Checkpoints of small models of each kind, with random weights, and their exported files.

Exporting is most of what these tests do, and its time depends on the number of operations rather
than on widths. Tests of one file share its exports, so tests of one kind stand in one file.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.small_models import save_kind
from support.training import run_in_process

from hiera_dense import Predictor
from hiera_dense.cli import export
from hiera_dense.deploy import precision
from hiera_dense.deploy.comparing import Comparison
from hiera_dense.predict.onnx_model import KEY, OnnxModel

Of = Callable[[str], Path]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> Of:
    """The checkpoint of a kind."""
    folder = tmp_path_factory.mktemp("whole")
    paths: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in paths:
            paths[kind] = save_kind(kind, toy, folder)
        return paths[kind]

    return of


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, checkpoint: Of) -> Of:
    """The file of a kind, as the command writes it."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    if torch.__version__ < "2.9":
        pytest.skip("torch 2.9 or newer exports graphs for any size")
    folder = tmp_path_factory.mktemp("exported")

    def of(kind: str) -> Path:
        path = folder / f"{kind}.onnx"
        if not path.exists():
            with pytest.MonkeyPatch.context() as patch:
                run_in_process(patch, export.main, checkpoint(kind), path)
        return path

    return of


@pytest.fixture(scope="session")
def images(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty of several sizes, one of them turned by its EXIF tag."""
    folder = tmp_path_factory.mktemp("images")
    found = sorted((toy / "instances" / "val").iterdir())
    for number in range(20):
        opened = Image.open(found[number % len(found)]).convert("RGB")
        width, height = opened.size
        part = (number, 0, width - 7 * (number % 3), height - 11 * (number % 5))
        exif = Image.Exif()
        if number == 19:
            exif[0x0112] = 6
        opened.crop(part).save(folder / f"{number:02d}.png", exif=exif)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def compared(checkpoint: Of, images: list[Path]) -> Callable[[str, Path], Comparison]:
    """What a file finds in the twenty images beside what PyTorch finds, by kind and file."""
    found: dict[str, list[Any]] = {}

    def of(kind: str, path: Path) -> Comparison:
        ours = Predictor(path, score=0.0)
        if kind not in found:
            theirs = Predictor(checkpoint(kind), score=0.0)
            assert (ours.task, ours.classes) == (theirs.task, theirs.classes)
            assert ours.palette == theirs.palette
            found[kind] = [theirs(image) for image in images]
        sums = Comparison(ours.task)
        for image, result in zip(images, found[kind], strict=True):
            sums.add(ours(image), result)
        assert sums.images == 20
        assert len(set(sums.sizes)) > 5
        assert sums.all > 100
        return sums

    return of


@pytest.fixture
def resizing_wrongly(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a file whose graph resizes half a pixel off."""
    onnx = pytest.importorskip("onnx")

    def of(path: Path) -> Path:
        model = onnx.load(path)
        modes = [
            attribute
            for node in model.graph.node
            if node.op_type == "Resize"
            for attribute in node.attribute
            if attribute.name == "coordinate_transformation_mode"
        ]
        assert modes
        for mode in modes:
            mode.s = b"asymmetric"
        onnx.save(model, tmp_path / "wrong.onnx")
        return tmp_path / "wrong.onnx"

    return of


@pytest.fixture
def runs_alone(images: list[Path]) -> Callable[[Path], list[str]]:
    """Heavy packages that a process imports which runs a file."""
    code = """
import sys
from hiera_dense import Predictor
Predictor(sys.argv[1])(sys.argv[2], score=0.0)
heavy = ("torch", "timm", "mmengine", "mmcv", "mmdet", "mmseg")
print(*[name for name in heavy if name in sys.modules])
"""

    def of(path: Path) -> list[str]:
        line = [sys.executable, "-c", code, str(path), str(images[0])]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()

    return of


@pytest.fixture(scope="session")
def lowered(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], Path]:
    """A file in another precision."""
    folder = tmp_path_factory.mktemp("lowered")

    def of(path: Path, name: precision.Precision) -> Path:
        target = folder / f"{path.stem}.{name}.onnx"
        if not target.exists():
            calibration = sorted((toy / "instances" / "train").iterdir())
            precision.lower(path, target, name, map(OnnxModel(path).read, calibration))
        return target

    return of


@pytest.fixture
def nearly(toy: Path) -> Callable[[Path, Path], Comparison]:
    """What a file of lower precision finds beside the one in float32, which looks like it."""
    onnx = pytest.importorskip("onnx")

    def of(whole: Path, small: Path) -> Comparison:
        models = [onnx.load(path) for path in (whole, small)]
        metas = [{prop.key: prop.value for prop in model.metadata_props} for model in models]
        assert metas[0][KEY] == metas[1][KEY]
        assert _ends(models[0]) == _ends(models[1])
        assert {node.domain for node in models[1].graph.node} <= {"", "ai.onnx"}
        assert small.stat().st_size < 0.75 * whole.stat().st_size
        theirs, ours = Predictor(whole, score=0.0), Predictor(small, score=0.0)
        sums = Comparison(ours.task, "float32's", iou=0.8, score=0.1)
        for number, path in enumerate(sorted((toy / "instances" / "val").iterdir())):
            pixels = np.asarray(Image.open(path))[: 96 - 13 * number, : 96 - 5 * number]
            sums.add(ours(pixels), theirs(pixels))
        assert len(set(sums.sizes)) == 3
        return sums

    return of


def _ends(model: Any) -> list[tuple[str, int, list[str]]]:
    """Names, dtypes and the names of dynamic sides of inputs and outputs."""
    graph = model.graph
    kinds = [(value.name, value.type.tensor_type) for value in (*graph.input, *graph.output)]
    sides = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    return [
        (name, kind.elem_type, [side.dim_param for side in sides.get(name, [])])
        for name, kind in kinds
    ]
