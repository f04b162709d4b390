"""One pass of a trained model over its validation data, which gives all that a report tells of it.

The loop is that of mmengine's `TestLoop`, with the loader, metrics and settings of the run, and not
`Predictor`: so batches, padding and metrics are those of `hiera-dense evaluate`, whatever the
recipe, and the totals equal. There is no runner: it would write into the folder of the run.
"""

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from heapq import heapify, heappushpop
from io import StringIO
from pathlib import Path
from typing import Any

from hiera_dense.mm.trained import Trained  # first: it says what to do without mmengine

# isort: split
import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import track

from hiera_dense.data.annotations import read_coco
from hiera_dense.data.masks import IGNORE
from hiera_dense.errors import DataError, InputError, SetupError, shown, some
from hiera_dense.mm.building import building
from hiera_dense.mm.coco_results import keep_coco_results, leave_boxes_out
from hiera_dense.predict.found import Array
from hiera_dense.predict.hosts import device_of, network_of
from hiera_dense.predict.palette import Colour, colours
from hiera_dense.report.matches import Evaluated, Kind, evaluate
from hiera_dense.report.record import Validation

SHOWN = 6  # images that are best, and worst


@dataclass(frozen=True)
class Model:
    """What of a model is told: its checkpoint, its classes, and colours that all eyes tell."""

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]


@dataclass(frozen=True)
class Objects:
    """What a detector does on its validation data.

    Args:
        model: Which one it is.
        totals: Metrics, as `hiera-dense evaluate` has them.
        files: Of each image, by its id in the annotations.
        evaluated: Masks, or boxes where there are no masks, against the truth.
    """

    model: Model
    totals: dict[str, float]
    files: dict[int, Path]
    evaluated: Evaluated


@dataclass(order=True)
class LabelImage:
    """The segmentation of one image. `rank` is what images are compared by."""

    rank: float
    number: int
    score: float = field(compare=False)
    path: Path = field(compare=False)
    found: Array = field(compare=False)
    truth: Array = field(compare=False)


@dataclass
class Labels:
    """What a segmenter does on its validation data.

    Args:
        model: Which one it is.
        totals: Metrics, as `hiera-dense evaluate` has them.
        pixels: How many of a class (row) were taken for another (column), shape (classes, classes).
        number: Of images.
        best: Those of the highest mean IoU of classes that are there or were found.
        worst: Those of the lowest.
    """

    model: Model
    totals: dict[str, float]
    pixels: Array
    number: int = 0
    best: list[LabelImage] = field(default_factory=list)
    worst: list[LabelImage] = field(default_factory=list)

    def add(self, sample: Any) -> None:
        """Count the pixels of an image; keep it if it is one of the best or worst so far."""
        found = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
        truth = sample.gt_sem_seg.data[0].cpu().numpy()
        classes = len(self.pixels)
        counted = (truth != IGNORE) & (truth < classes)
        pairs = truth[counted].astype(np.int64) * classes + found[counted]
        pixels = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        self.pixels += pixels
        self.number += 1
        if not counted.any():
            return
        known = intersection_over_union(pixels)
        score = float(known[~np.isnan(known)].mean())
        kept = (self.number, score, Path(sample.img_path), found, truth.astype(np.uint8))
        _keep(self.best, LabelImage(score, *kept))
        _keep(self.worst, LabelImage(-score, *kept))


def intersection_over_union(pixels: Array) -> Array:
    """IoU of each class from counts of pixels; NaN for classes that are neither there nor found."""
    same = pixels.diagonal()
    union = pixels.sum(0) + pixels.sum(1) - same
    iou: Array = np.where(union > 0, same / np.maximum(union, 1), np.nan)
    return iou


def evaluate_run(trained: Trained, settings: Validation, device: str | None) -> Objects | Labels:
    """Run a trained model over its validation data, once.

    Args:
        trained: The model.
        settings: Of the data and metrics.
        device: As torch names it; None: a GPU, if there is one.

    Raises:
        DataError: Images or labels cannot be read.
        InputError: The model or the metrics cannot be built, or are of an unknown kind.
    """
    model = Model(trained.name, trained.classes, colours(len(trained.classes)))
    with (
        tempfile.TemporaryDirectory() as folder,
        _quiet(),
        building(),
        DefaultScope.overwrite_default_scope(trained.scope),
    ):
        if trained.scope == "mmdet":
            return _objects(trained, settings, device, model, Path(folder))
        return _labels(trained, settings, device, model)


def _objects(
    trained: Trained, settings: Validation, device: str | None, model: Model, folder: Path
) -> Objects:
    kept = folder / "found.json"
    keep_coco_results(settings.evaluators, kept)
    annotations = next(e["ann_file"] for e in settings.evaluators if e.get("ann_file"))
    files: dict[int, Path] = {}
    totals: dict[str, float] = {}
    for sample in _pass(trained, settings, device, totals):
        files[int(sample.img_id)] = Path(sample.img_path)
    leave_boxes_out(kept)
    compared = [m for e in settings.evaluators for m in _listed(e.get("metric", "bbox"))]
    kind: Kind = "segm" if "segm" in compared else "bbox"
    results = kept.with_suffix(f".{kind}.json")
    truth = read_coco(Path(annotations)).content
    found = json.loads(results.read_text())
    return Objects(model, totals, files, evaluate(truth, found, model.classes, kind))


def _labels(trained: Trained, settings: Validation, device: str | None, model: Model) -> Labels:
    labels = Labels(model, {}, np.zeros((len(model.classes),) * 2, np.int64))
    for sample in _pass(trained, settings, device, labels.totals):
        labels.add(sample)
    return labels


def _pass(
    trained: Trained, settings: Validation, device: str | None, totals: dict[str, float]
) -> Iterator[Any]:
    """The samples of the validation with their predictions; fills the totals at the end."""
    target = device_of(device)
    network = revert_sync_batchnorm(network_of(trained)).eval().to(target)
    loader = Runner.build_dataloader(settings.loader)
    evaluator = Evaluator(settings.evaluators)
    evaluator.dataset_meta = loader.dataset.metainfo
    batches = iter(loader)
    for number in track(range(len(loader)), "validation", console=Console(stderr=True)):
        batch = _next(batches, loader, number, settings.place)
        with torch.no_grad(), torch.autocast(target.type, torch.float16, enabled=settings.half):
            samples = _run(network, batch, target)
        evaluator.process(data_samples=samples, data_batch=batch)
        yield from samples
    totals |= {k: float(v) for k, v in evaluator.evaluate(len(loader.dataset)).items()}


def _run(network: Any, batch: Any, device: torch.device) -> list[Any]:
    try:
        return list(network.test_step(batch))
    except torch.OutOfMemoryError as error:
        raise SetupError(f"{device} has not enough memory; expected --device cpu") from error


def _next(batches: Iterator[Any], loader: Any, number: int, place: str) -> Any:
    try:
        return next(batches)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes a decoder say, in another process
        size, last = loader.batch_size or 1, str(error).strip().rpartition("\n")[2]
        some_of = range(number * size, min((number + 1) * size, len(loader.dataset)))
        images = [loader.dataset.get_data_info(i).get("img_path") for i in some_of]
        raise DataError(
            f"{place}: {some(images)}: image or labels cannot be read ({shown(last)}); expected "
            "data that `hiera-dense check-data FOLDER` finds no error in"
        ) from error


def _keep(kept: list[LabelImage], image: LabelImage) -> None:
    """Keep an image among the few of the highest rank; the list is a heap."""
    if len(kept) < SHOWN:
        kept.append(image)
        heapify(kept)
    else:
        heappushpop(kept, image)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tables that metrics print and log."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logger.setLevel(level)
