"""Numbers about a labelled folder of data: images, objects, classes and their sizes."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from hiera_dense.data.annotations import read_coco
from hiera_dense.data.folders import Folder
from hiera_dense.data.masks import IGNORE, pair_masks, read_mask
from hiera_dense.data.splits import Split
from hiera_dense.errors import DataError

MOST_MASKS = 2000  # of a split, which are read; of more, an even part


@dataclass
class SplitNumbers:
    """What is in a split.

    Args:
        name: Of the split.
        sizes: Width and height of images, px.
        areas: Of objects, px; of index masks there are none.
        per_image: Objects of each image.
        objects: How many of each class.
        images: How many images have each class.
        pixels: Of each class; of index masks alone.
        ignored: Pixels that are ignored, of index masks.
        empty: Images without an object.
        read: Masks that were read, of index masks.
        unreadable: Images or masks that could not be read.
        labels: The place of each class, by its id in COCO's format.
    """

    name: str
    sizes: list[tuple[int, int]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    per_image: list[int] = field(default_factory=list)
    objects: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    pixels: Counter[int] = field(default_factory=Counter)
    ignored: int = 0
    empty: int = 0
    read: int = 0
    unreadable: int = 0
    labels: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Labelled:
    """An image with its truth: an index mask, or annotations of COCO."""

    path: Path
    mask: Path | None = None
    annotations: tuple[dict[str, Any], ...] = ()


def read_split(folder: Folder, split: Split, name: str) -> tuple[SplitNumbers, list[Labelled]]:
    """Numbers of a split, and its images in their order.

    Args:
        folder: From `folders`, in COCO's format or of index masks.
        split: One of its splits.
        name: Of the split.

    Raises:
        DataError: As `read_coco`.
    """
    root = Path(folder["root"])
    if folder["kind"] == "coco":
        return _read_objects(root, split, name)
    return _read_masks(root, split, name, len(folder["classes"]))


def _read_objects(root: Path, split: Split, name: str) -> tuple[SplitNumbers, list[Labelled]]:
    content = read_coco(root / split["annotations"]).content
    labels = {c["id"]: label for label, c in enumerate(content["categories"])}
    own: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        own[annotation["image_id"]].append(annotation)
    numbers, images = SplitNumbers(name, labels=labels), []
    for image in content["images"]:
        objects = [a for a in own[image["id"]] if not a["iscrowd"]]
        classes = [labels[a["category_id"]] for a in objects]
        numbers.sizes.append((image["width"], image["height"]))
        numbers.areas += [float(a["area"]) for a in objects]
        numbers.per_image.append(len(objects))
        numbers.objects.update(classes)
        numbers.images.update(set(classes))
        numbers.empty += not objects
        path = root / split["images"] / image["file_name"]
        images.append(Labelled(path, annotations=tuple(own[image["id"]])))
    return numbers, images


def _read_masks(
    root: Path, split: Split, name: str, classes: int
) -> tuple[SplitNumbers, list[Labelled]]:
    pairs = pair_masks(root / split["images"], root / split["annotations"])
    images = [Labelled(image, mask) for image, mask in pairs.items() if mask]
    numbers = SplitNumbers(name)
    step = max(1, -(-len(images) // MOST_MASKS))
    read = images[::step]
    for image in track(read, f"{name} masks", console=Console(stderr=True)):
        try:
            with Image.open(image.path) as opened:
                size = opened.size
            mask = read_mask(image.mask) if image.mask else np.zeros(0, np.uint8)
        except (OSError, DataError, Image.DecompressionBombError):
            numbers.unreadable += 1
            continue
        counts = dict(zip(*map(list, np.unique(mask, return_counts=True)), strict=True))
        numbers.ignored += int(counts.pop(IGNORE, 0))
        known = {int(c): int(n) for c, n in counts.items() if 0 <= c < classes}
        numbers.sizes.append(size)
        numbers.pixels.update(known)
        numbers.images.update(known.keys())
        numbers.read += 1
    return numbers, images
