"""Validation data, and what is measured on them: AP, mIoU or the share of right classes."""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from hiera_dense.data.masks import IGNORE, read_mask
from hiera_dense.errors import DataError
from hiera_dense.predict.found import Array, Task
from hiera_dense.predict.results import Result

Scores = dict[str, float]  # in percent, by the name of the metric


class Data(NamedTuple):
    """Validation data.

    Attributes:
        root: The folder that the user named.
        images: Their files.
        masks: Of each image the file of its index mask; of segmenters alone.
        labels: Of each image its class; of classifiers alone.
        coco: The content of the annotation file, and for each image its id; of detectors alone.
        ids: Of the images, in `coco`.
        has_masks: Whether each annotation in `coco` has one.
    """

    root: str
    images: list[Path]
    masks: Sequence[Path] = ()
    labels: Sequence[int] = ()
    coco: Mapping[str, Any] = MappingProxyType({})
    ids: Sequence[int] = ()
    has_masks: bool = False


class Measure(Protocol):
    """Sums over the images of validation data."""

    def add(self, place: int, result: Result) -> None:
        """Take what was found in the image at a place of `Data.images`."""
        ...

    def scores(self) -> Scores:
        """In percent."""
        ...


def measure_of(task: Task, classes: Sequence[str], data: Data) -> Measure:
    """The sums that are made for a task."""
    if task == "instances":
        return Objects(data)
    return Labels(classes, data) if task == "segmentation" else Classes(data)


class Classes:
    """Sums of the share of images whose class is right, and is among the best five."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._places: list[int] = []
        self._classes = 0

    def add(self, place: int, result: Result) -> None:
        """Take the classes of an image."""
        assert result.class_scores is not None
        self._classes = len(result.classes)
        order = np.argsort(-result.class_scores, kind="stable")
        self._places.append(int(np.flatnonzero(order == self._data.labels[place])[0]))

    def scores(self) -> Scores:
        """In percent; top-5 where there are more than five classes."""
        places = np.array(self._places)
        limits = {"top-1": 1, "top-5": 5} if self._classes > 5 else {"top-1": 1}
        return {name: float(100 * (places < k).mean()) for name, k in limits.items()}


class Labels:
    """Sums of mIoU, as mmseg has it: without pixels of 255, and classes that are nowhere."""

    def __init__(self, classes: Sequence[str], data: Data) -> None:
        self._data = data
        self._counts = np.zeros((len(classes), len(classes)), np.int64)

    def add(self, place: int, result: Result) -> None:
        """Count the labels of an image."""
        path = self._data.masks[place]
        truth = read_mask(path)
        found = result.segmentation
        assert found is not None
        if truth.shape != found.shape:
            raise DataError(
                f"mask {path}: {truth.shape} px; expected those of the image, {found.shape}"
            )
        number = len(self._counts)
        counted = truth != IGNORE
        if counted.any() and not 0 <= truth[counted].min() <= truth[counted].max() < number:
            raise DataError(
                f"mask {path}: the value {truth[counted].max()}; expected 0 to {number - 1}, or "
                f"{IGNORE}"
            )
        pairs = truth[counted].astype(np.int64) * number + found[counted]
        self._counts += np.bincount(pairs, minlength=number**2).reshape(number, number)

    def scores(self) -> Scores:
        """In percent."""
        same = self._counts.diagonal()
        union = self._counts.sum(0) + self._counts.sum(1) - same
        ious = same[union > 0] / union[union > 0]
        return {"mIoU": float(100 * ious.mean()) if len(ious) else 0.0}


class Objects:
    """Annotations that AP is of, as pycocotools has it: of 100 objects of an image at most."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._ids = {c["name"]: c["id"] for c in data.coco["categories"]}
        self._found: dict[str, list[dict[str, Any]]] = {"bbox": []}

    def add(self, place: int, result: Result) -> None:
        """Take the objects of an image."""
        if result.crops is not None and self._data.has_masks:
            self._found.setdefault("segm", [])
        for entry in result.to_coco(self._data.ids[place], self._ids):
            own = {key: entry[key] for key in ("image_id", "category_id", "score")}
            self._found["bbox"].append(own | {"bbox": entry["bbox"]})
            if "segm" in self._found:
                self._found["segm"].append(own | {"segmentation": entry["segmentation"]})

    def scores(self) -> Scores:
        """In percent."""
        names = {"bbox": "box AP", "segm": "mask AP"}
        return {names[kind]: self._ap(kind, found) for kind, found in self._found.items()}

    def _ap(self, kind: str, found: list[dict[str, Any]]) -> float:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        if not found:
            return 0.0
        with redirect_stdout(StringIO()):
            truth = COCO()
            truth.dataset = self._data.coco
            truth.createIndex()
            evaluation = COCOeval(truth, truth.loadRes(found), kind)
            evaluation.evaluate()
            evaluation.accumulate()
        precision: Array = evaluation.eval["precision"][:, :, :, 0, -1]  # all areas, 100 objects
        known = precision[precision > -1]
        return float(100 * known.mean()) if known.size else 0.0
