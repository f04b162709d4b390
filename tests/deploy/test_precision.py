"""Files in float16 and int8, and files on a user's validation data."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.training import run_in_process

from hiera_dense import Predictor
from hiera_dense.cli import export as command
from hiera_dense.data.masks import read_mask
from hiera_dense.deploy import check, precision
from hiera_dense.deploy.comparing import Comparison
from hiera_dense.errors import DataError, SetupError
from hiera_dense.mm.trained import read_trained
from hiera_dense.predict.found import Array
from hiera_dense.predict.hosts import HostModel
from hiera_dense.predict.onnx_model import KEY, OnnxModel
from hiera_dense.predict.palette import palette_for
from hiera_dense.predict.results import Result

Of = Callable[[str], Path]
NAMES = ("disc", "square", "triangle", "star")  # of the toy data
# The share of pixels or objects that are as in float32, at least. Objects of random weights
# are harder than those of trained ones: the scores of all classes are nearly the same.
SAME = {
    ("upernet", "float16"): 0.998,
    ("upernet", "int8"): 0.95,
    ("mask-rcnn", "float16"): 0.93,
    ("mask-rcnn", "int8"): 0.7,
}


@pytest.fixture(scope="module")
def lowered(exported: Of, toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """The file of a kind in a precision."""
    folder = tmp_path_factory.mktemp("lowered")

    def of(kind: str, name: precision.Precision) -> Path:
        path = folder / f"{kind}.{name}.onnx"
        if not path.exists():
            model = OnnxModel(exported(kind))
            images = sorted((toy / "instances" / "train").iterdir())
            precision.lower(exported(kind), path, name, map(model.read, images))
        return path

    return of


def ends(model: Any) -> list[tuple[str, int, list[str]]]:
    """Names, dtypes and the names of dynamic sides of inputs and outputs."""
    graph = model.graph
    kinds = [(value.name, value.type.tensor_type) for value in (*graph.input, *graph.output)]
    sides = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    return [
        (name, kind.elem_type, [side.dim_param for side in sides.get(name, [])])
        for name, kind in kinds
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float16", "int8"])
@pytest.mark.parametrize("kind", ["upernet", "mask-rcnn"])
def test_a_smaller_file_finds_nearly_the_same(
    kind: str, name: precision.Precision, exported: Of, lowered: Callable, toy: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    whole, small = exported(kind), lowered(kind, name)
    models = [onnx.load(path) for path in (whole, small)]
    metas = [{prop.key: prop.value for prop in model.metadata_props} for model in models]
    assert metas[0][KEY] == metas[1][KEY]
    assert ends(models[0]) == ends(models[1])
    assert {node.domain for node in models[1].graph.node} <= {"", "ai.onnx"}
    assert small.stat().st_size < 0.75 * whole.stat().st_size

    theirs, ours = Predictor(whole, score=0.0), Predictor(small, score=0.0)
    compared = Comparison(ours.task, "float32's", iou=0.8, score=0.1)
    for number, path in enumerate(sorted((toy / "instances" / "val").iterdir())):
        pixels = np.asarray(Image.open(path))[: 96 - 13 * number, : 96 - 5 * number]
        compared.add(ours(pixels), theirs(pixels))
    assert len(set(compared.sizes)) == 3
    assert compared.share >= SAME[kind, name], str(compared)


@pytest.mark.slow
def test_layers_alone_become_int8(lowered: Callable) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(lowered("mask-rcnn", "int8")).graph
    dequantized = {
        name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output
    }
    kinds = {n.op_type for n in graph.node if dequantized.intersection(n.input)}
    assert {"Conv", "MatMul", "Gemm"} <= kinds
    weights = [value for value in graph.initializer if value.data_type == onnx.TensorProto.INT8]
    scales = {node.input[0]: node.input[1] for node in graph.node if len(node.input) == 3}
    lengths = {value.name: value.dims for value in graph.initializer}
    of_channels = [w for w in weights if list(lengths.get(scales.get(w.name), [])) not in ([], [1])]
    assert len(of_channels) > 20


@pytest.mark.slow
def test_boxes_and_scores_stay_float32(lowered: Callable) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(lowered("mask-rcnn", "float16"))
    network = precision.network_nodes(model)
    inside = {node.op_type for node in model.graph.node if node.name in network}
    assert {"Conv", "MatMul", "LayerNormalization"} <= inside
    assert not inside & {"NonMaxSuppression", "TopK", "Exp", "Log"}
    half = [v for v in model.graph.initializer if v.data_type == onnx.TensorProto.FLOAT16]
    assert sum(np.prod(v.dims) for v in half) > 0.9 * sum(
        np.prod(v.dims) for v in model.graph.initializer
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["upernet", "mask-rcnn"])
def test_scores_on_data_are_those_of_pytorch(
    kind: str, checkpoint: Of, exported: Of, lowered: Callable, toy: Path
) -> None:
    trained = read_trained(checkpoint(kind))
    is_detector = kind == "mask-rcnn"
    root = toy / ("instances" if is_detector else "segments")
    data = check.read_data(
        str(root), "instances" if is_detector else "segmentation", trained.classes
    )
    files = {
        "float32": OnnxModel(exported(kind)),
        "float16": OnnxModel(lowered(kind, "float16")),
    }
    lines = check.check(data, HostModel(trained, "cpu"), files).splitlines()
    assert lines[0] == f"3 images of {root}, in percent:"
    assert lines[1].split() == ["PyTorch", "float32", "float16"]
    metrics = ["box AP", "mask AP"] if is_detector else ["mIoU"]
    assert [line[:7].strip() for line in lines[2:]] == metrics


@pytest.mark.slow
def test_the_command_writes_and_checks(
    checkpoint: Of,
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "a.onnx"
    data = toy / "segments"
    options = ["--precision", "int8", "--calibrate", toy / "instances" / "train", "--check", data]
    run_in_process(monkeypatch, command.main, checkpoint("upernet"), out, *options)
    said = capsys.readouterr().out
    assert "of pixels have PyTorch's label" in said
    assert "int8: " in said
    assert "of pixels have float32's label" in said
    assert "PyTorch  float32" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert Predictor(out).task == "segmentation"


def test_folders_are_looked_at_before_the_export(
    checkpoint: Of, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.mkdir()
    shutil.copytree(toy / "segments", other)
    (other / "classes.txt").write_text("background\ndisc\nsquare\nstar\ntriangle\n")
    for options, message in (
        (
            ("--precision", "int8", "--calibrate", empty),
            "--calibrate .*empty: no images or videos in it; expected",
        ),
        (("--check", empty), "no images with annotations in .*, which holds no files"),
        (("--check", other), "has the classes background, disc.*model, background, disc.*, in"),
    ):
        with pytest.raises(SystemExit, match=message):
            run_in_process(
                monkeypatch, command.main, checkpoint("upernet"), tmp_path / "a.onnx", *options
            )
    assert not (tmp_path / "a.onnx").exists()


def test_categories_of_a_detector_go_by_their_names(toy: Path) -> None:
    root = str(toy / "instances")
    data = check.read_data(root, "instances", NAMES[::-1])
    assert data.has_masks
    with pytest.raises(DataError, match=r"has the classes disc, .*; expected those of the model, "):
        check.read_data(root, "instances", (*NAMES, "dog"))


class Knowing:
    """What finds in each image what is there, as far as it is to."""

    name = "knowing"

    def __init__(self, task: str, data: check.Data, classes: Sequence[str], share: float) -> None:
        self.task, self.classes, self.channels = task, tuple(classes), 3
        self.palette = palette_for(len(classes), None)
        self._data, self._share, self._place = data, share, -1

    def read(self, path: Path) -> Array:
        return np.asarray(Image.open(path))

    def __call__(self, images: Sequence[Array], score: float = 0.0) -> list[Result]:
        self._place += 1
        size = images[0].shape[:2]
        if self.task == "segmentation":
            labels = read_mask(self._data.masks[self._place]).copy()
            labels[: round(size[0] * (1 - self._share))] = 0
            return [Result(size, self.classes, self.palette, segmentation=labels)]
        names = {c["id"]: c["name"] for c in self._data.coco["categories"]}
        there = [
            a
            for a in self._data.coco["annotations"]
            if a["image_id"] == self._data.ids[self._place]
        ]
        boxes = np.array([a["bbox"] for a in there], np.float32)
        boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:] * self._share
        labels = np.array([self.classes.index(names[a["category_id"]]) for a in there])
        return [
            Result(
                size,
                self.classes,
                self.palette,
                boxes=boxes,
                scores=np.linspace(1, 0.5, len(there), dtype=np.float32),
                labels=labels,
            )
        ]


def test_what_is_right_has_full_marks(toy: Path) -> None:
    data = check.read_data(str(toy / "instances"), "instances", NAMES[::-1])
    engines = {
        str(share): Knowing("instances", data, NAMES[::-1], share) for share in (1, 0.95, 0.5)
    }
    scores = check.measure(data, engines)
    assert scores["1"] == {"box AP": pytest.approx(100)}
    assert 50 < scores["0.95"]["box AP"] < 100
    assert scores["0.5"]["box AP"] == pytest.approx(0)

    names = ("background", *NAMES)
    data = check.read_data(str(toy / "segments"), "segmentation", names)
    engines = {str(share): Knowing("segmentation", data, names, share) for share in (1, 0.5)}
    scores = check.measure(data, engines)
    assert scores["1"] == {"mIoU": pytest.approx(100)}
    assert 20 < scores["0.5"]["mIoU"] < 90


def test_a_file_that_differs_is_refused() -> None:
    check.refuse_difference({"mIoU": 50.0}, {"mIoU": 50.09}, "data")
    for other in (49.8, 50.2, float("nan")):
        with pytest.raises(SetupError, match=r"on data the mIoU of the file is .*was not kept"):
            check.refuse_difference({"mIoU": 50.0}, {"mIoU": other}, "data")


def test_scores_are_a_table() -> None:
    scores = {
        "PyTorch": {"box AP": 61.234, "mask AP": 5.0},
        "float32": {"box AP": 61.2, "mask AP": 5},
    }
    assert check.table(scores).splitlines() == [
        "         PyTorch  float32",
        "box AP     61.23    61.20",
        "mask AP     5.00     5.00",
    ]
