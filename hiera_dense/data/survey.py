"""What a folder of data holds, as far as the settings of a training depend on it."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiera_dense.data.folders import Folder
from hiera_dense.data.masks import IGNORE, pair_masks, read_mask
from hiera_dense.data.splits import Split
from hiera_dense.errors import DataError

_MOST_MASKS = 500  # masks that are read; of more, an even part
_LEAST = 2  # training images


@dataclass(frozen=True)
class Survey:
    """What is in the training split of a folder.

    Attributes:
        images: Training images that have labels.
        val_images: Images of the validation split.
        sides: Longer side in px of each image that was looked at, shape (N,).
        boxes: Width and height of each box, as shares of the longer side of its image, shape
            (M, 2). No rows for index masks.
        labels: Of each image that was looked at, the indices of the classes in it.
    """

    images: int
    val_images: int
    sides: NDArray[np.float64]
    boxes: NDArray[np.float64]
    labels: Sequence[frozenset[int]]


def survey(folder: Folder) -> Survey:
    """Look at the images, boxes and classes of a folder.

    All annotations in COCO's format are read; of index masks at most 500, evenly spread.

    Raises:
        DataError: There are fewer than 2 training images with labels, or no box in COCO's format.
    """
    found = _survey_coco(folder) if folder["kind"] == "coco" else _survey_masks(folder)
    if found.images < _LEAST or not len(found.sides):
        raise DataError(
            f"{folder['root']} has {found.images} training images with labels that can be read; "
            f"expected {_LEAST} or more"
        )
    return found


def _survey_coco(folder: Folder) -> Survey:
    content = _content(folder, folder["train"])
    index = {category["id"]: i for i, category in enumerate(content["categories"])}
    sides = {image["id"]: max(image["width"], image["height"]) for image in content["images"]}
    labels: dict[int, set[int]] = defaultdict(set)
    boxes = []
    for annotation in content["annotations"]:
        if annotation.get("ignore"):
            continue
        image = annotation["image_id"]
        labels[image].add(index[annotation["category_id"]])
        width, height = annotation["bbox"][2:]
        if not annotation.get("iscrowd") and min(width, height) >= 1:  # others are left out
            boxes.append((width / sides[image], height / sides[image]))
    if not boxes:
        raise DataError(
            f"{folder['root']}: no training box of 1 px or more that is no crowd; expected some"
        )
    return Survey(
        images=len(labels),
        val_images=len(_content(folder, folder["val"])["images"]),
        sides=np.array([sides[image] for image in labels], float),
        boxes=np.array(boxes, float).reshape(-1, 2),
        labels=[frozenset(found) for found in labels.values()],
    )


def _content(folder: Folder, split: Split) -> dict[str, Any]:
    """Annotations as the hosts read them, which `coco_folder` has checked."""
    content: dict[str, Any] = json.loads(
        Path(folder["root"], split["annotations"]).read_text("utf-8-sig")
    )
    return content


def _survey_masks(folder: Folder) -> Survey:
    pairs = [(image, mask) for image, mask in _pairs(folder, folder["train"]).items() if mask]
    sides, labels = [], []
    for image, mask in pairs[:: max(1, -(-len(pairs) // _MOST_MASKS))]:
        try:
            with Image.open(image) as opened:
                side = max(opened.size)
            values = read_mask(mask)
        except (OSError, DataError, Image.DecompressionBombError):
            continue  # the check of the data says what is wrong
        sides.append(side)
        labels.append(frozenset(map(int, np.unique(values))) - {IGNORE})
    return Survey(
        images=len(pairs),
        val_images=len(_pairs(folder, folder["val"])),
        sides=np.array(sides, float),
        boxes=np.empty((0, 2)),
        labels=labels,
    )


def _pairs(folder: Folder, split: Split) -> dict[Path, Path | None]:
    root = Path(folder["root"])
    return pair_masks(root / split["images"], root / split["annotations"])


def shares(labels: Sequence[frozenset[int]]) -> dict[int, float]:
    """The share of images in which a class is, for each class that is in one."""
    counts = Counter(label for found in labels for label in found)
    return {label: count / len(labels) for label, count in sorted(counts.items())}
