"""The scores of a model on a user's validation data, and folders of images."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.training import run_in_process

from hiera_dense.cli import export as command
from hiera_dense.data.masks import read_mask
from hiera_dense.deploy import check
from hiera_dense.errors import DataError, SetupError
from hiera_dense.predict.found import Array
from hiera_dense.predict.palette import palette_for
from hiera_dense.predict.results import Result

Of = Callable[[str], Path]
NAMES = ("disc", "square", "triangle", "star")  # of the toy data


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
