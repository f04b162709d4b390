"""AP or mIoU of several engines of one model on a user's validation data."""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

from hiera_dense.data.annotations import read_coco
from hiera_dense.data.folders import coco_folder, mask_folder
from hiera_dense.data.masks import IGNORE, pair_masks, read_mask
from hiera_dense.errors import DataError, SetupError, some
from hiera_dense.predict.found import Array
from hiera_dense.predict.onnx_model import OnnxModel
from hiera_dense.predict.predictor import Engine
from hiera_dense.predict.results import Result

LIMIT = 0.1  # points between PyTorch and a file in float32
Scores = dict[str, float]  # in percent, by the name of the metric


class Data(NamedTuple):
    """Validation data.

    Attributes:
        root: The folder that the user named.
        images: Their files.
        masks: Of each image the file of its index mask; of segmenters alone.
        coco: The content of the annotation file, and for each image its id; of detectors alone.
        ids: Of the images, in `coco`.
        has_masks: Whether each annotation in `coco` has one.
    """

    root: str
    images: list[Path]
    masks: Sequence[Path] = ()
    coco: Mapping[str, Any] = MappingProxyType({})
    ids: Sequence[int] = ()
    has_masks: bool = False


def read_data(root: str, is_detector: bool, classes: Sequence[str]) -> Data:
    """Find the validation split of a folder, as `hiera-dense train --data` takes it.

    Args:
        root: The folder.
        is_detector: Whether data in COCO's format are expected, or images and index masks.
        classes: Of the model.

    Raises:
        DataError: There are no such data, or they have other classes.
    """
    folder = coco_folder(root) if is_detector else mask_folder(root)
    names, ours = list(folder["classes"]), list(classes)
    if is_detector:
        names, ours = sorted(names), sorted(ours)
    if names != ours:
        raise DataError(
            f"--check {root}: has the classes {some(folder['classes'])}; expected those of the "
            f"model, {some(classes)}{'' if is_detector else ', in this order'}"
        )
    place, val = Path(folder["root"]), folder["val"]
    images, labels = place / val["images"], place / val["annotations"]
    if not is_detector:
        pairs = [(image, mask) for image, mask in pair_masks(images, labels).items() if mask]
        if not pairs:
            raise DataError(f"--check {root}: no images with masks in {images}; expected some")
        return Data(root, [image for image, _ in pairs], [mask for _, mask in pairs])
    content = read_coco(labels).content
    return Data(
        root,
        [images / image["file_name"] for image in content["images"]],
        coco=content,
        ids=[image["id"] for image in content["images"]],
        has_masks=not folder["without_mask"],
    )


def check(data: Data, host: Engine, files: Mapping[str, Path]) -> str:
    """Compare files with PyTorch; returns the table.

    Args:
        data: From `read_data`.
        host: The model in PyTorch.
        files: The file of each precision, `float32` first.

    Raises:
        DataError: An image or a mask cannot be used.
        SetupError: The scores of float32 are not those of PyTorch.
    """
    engines: dict[str, Engine] = {"PyTorch": host}
    for name, path in files.items():
        engines[name] = OnnxModel(path)
    scores = measure(data, engines)
    refuse_difference(scores["PyTorch"], scores["float32"], data.root)
    return f"{len(data.images)} images of {data.root}, in percent:\n{table(scores)}"


def measure(data: Data, engines: Mapping[str, Engine]) -> dict[str, Scores]:
    """The scores of each engine; images are read by the first one.

    Raises:
        DataError: An image or a mask cannot be used.
    """
    first = next(iter(engines.values()))
    sums = {
        name: _Objects(data) if data.coco else _Labels(engine.classes, data)
        for name, engine in engines.items()
    }
    for i, path in enumerate(track(data.images, f"{len(engines)} models on {data.root}")):
        pixels = first.read(path)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        for name, engine in engines.items():
            sums[name].add(i, engine([pixels])[0])
    return {name: each.scores() for name, each in sums.items()}


def table(scores: Mapping[str, Scores]) -> str:
    """Scores in percent: a row for a metric, a column for an engine."""
    names = list(scores)
    metrics = list(scores[names[0]])
    rows = [["", *names]]
    rows += [[metric, *(f"{scores[name][metric]:.2f}" for name in names)] for metric in metrics]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for label, *values in rows:
        cells = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        lines.append("  ".join([label.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def refuse_difference(theirs: Scores, ours: Scores, root: str) -> None:
    """Refuse a file whose scores are not those of PyTorch.

    Raises:
        SetupError: They differ by more than 0.1 points.
    """
    for metric, points in theirs.items():
        if not abs(points - ours[metric]) <= LIMIT:
            raise SetupError(
                f"on {root} the {metric} of the file is {ours[metric]:.2f}, and of PyTorch "
                f"{points:.2f}; expected a difference of {LIMIT} at most; the file was not kept"
            )


class _Labels:
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


class _Objects:
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
