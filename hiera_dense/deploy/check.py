"""AP, mIoU or accuracy of several engines of one model on a user's validation data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.progress import track

from hiera_dense.data.annotations import read_coco
from hiera_dense.data.folders import class_folder, coco_folder, mask_folder
from hiera_dense.data.images import find_images, readable_suffixes
from hiera_dense.data.masks import pair_masks
from hiera_dense.deploy.measures import Data, Scores, measure_of
from hiera_dense.errors import DataError, SetupError, some
from hiera_dense.predict.found import Task
from hiera_dense.predict.predictor import Engine

LIMIT = 0.1  # points between PyTorch and a file in float32
_FOLDERS = dict(instances=coco_folder, segmentation=mask_folder, classification=class_folder)


def read_data(root: str, task: Task, classes: Sequence[str]) -> Data:
    """Find the validation split of a folder, as `hiera-dense train --data` takes it.

    Args:
        root: The folder.
        task: Of the model: data in COCO's format, images and index masks, or a folder for each
            class.
        classes: Of the model.

    Raises:
        DataError: There are no such data, or they have other classes.
    """
    folder = _FOLDERS[task](root)
    names, ours = list(folder["classes"]), list(classes)
    if task == "instances":
        names, ours = sorted(names), sorted(ours)
    if names != ours:
        order = "" if task == "instances" else ", in this order"
        raise DataError(
            f"--check {root}: has the classes {some(folder['classes'])}; expected those of the "
            f"model, {some(classes)}{order}"
        )
    place, val = Path(folder["root"]), folder["val"]
    images, labels = place / val["images"], place / val["annotations"]
    if task == "classification":
        suffixes = readable_suffixes()
        files = [
            (path, label)
            for label, name in enumerate(classes)
            for path in find_images(images / name, suffixes)
        ]
        if not files:
            raise DataError(f"--check {root}: no images in {images}; expected some")
        return Data(root, [path for path, _ in files], labels=[label for _, label in files])
    if task == "segmentation":
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


def check(data: Data, host: Engine, models: Mapping[str, Engine]) -> str:
    """Compare files with PyTorch; returns the table.

    Args:
        data: From `read_data`.
        host: The model in PyTorch.
        models: The file of each precision, `float32` first.

    Raises:
        DataError: An image or a mask cannot be used.
        SetupError: The scores of float32 are not those of PyTorch.
    """
    scores = measure(data, {"PyTorch": host, **models})
    refuse_difference(scores["PyTorch"], scores["float32"], data.root)
    return f"{len(data.images)} images of {data.root}, in percent:\n{table(scores)}"


def measure(data: Data, engines: Mapping[str, Engine]) -> dict[str, Scores]:
    """The scores of each engine; images are read by the first one.

    Raises:
        DataError: An image or a mask cannot be used.
    """
    first = next(iter(engines.values()))
    sums = {name: measure_of(engine.task, engine.classes, data) for name, engine in engines.items()}
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
