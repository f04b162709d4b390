"""A user's own folder of data: the images, annotations and classes in it.

The data configs call `coco_folder` or `mask_folder` when they are parsed, so that heads have the
size that the data need, in our commands and in the hosts' tools. What they return is plain data.
"""

import csv
import os
from collections import Counter
from colorsys import hsv_to_rgb
from pathlib import Path
from typing import TypedDict

import numpy as np

from hiera_dense.data.annotations import IGNORE, check_names, image_files, read_coco, read_mask
from hiera_dense.data.images import class_names, find_images, readable_suffixes
from hiera_dense.errors import DataError

VARIABLE = "HIERA_DENSE_DATA"
NAME_FILES = ("classes.txt", "_classes.csv")
SPLIT_NAMES = (("train", "val"), ("train", "valid"), ("training", "validation"))
# Images and annotations of a split; {} is its name.
COCO_LAYOUTS = (
    ("{}", "instances_{}.json"),
    ("{}", "annotations/instances_{}.json"),
    ("images/{}", "annotations/instances_{}.json"),
    ("{}2017", "annotations/instances_{}2017.json"),
    ("{}", "{}/_annotations.coco.json"),
)
MASK_LAYOUTS = (("images/{}", "annotations/{}"), ("{}/images", "{}/masks"))
CLASS_LAYOUTS = (("{}", "{}"),)


class Split(TypedDict):
    """Folder of images, and file or folder of annotations, relative to the root."""

    images: str
    annotations: str


class Folder(TypedDict):
    """What a config needs to know.

    Images without labels have no classes. If a folder has no splits, both splits are all of it.
    `most_instances` is the largest number of instances in an image, 0 for all but COCO's format.
    """

    kind: str  # 'coco', 'masks', 'classes' or 'images'
    root: str
    train: Split
    val: Split
    classes: tuple[str, ...]
    palette: list[tuple[int, int, int]]  # RGB, one for each class
    most_instances: int


def coco_folder(root: str | None = None) -> Folder:
    """Look at a folder in COCO's format.

    Args:
        root: The folder. None: the environment variable HIERA_DENSE_DATA names it.

    Raises:
        DataError: No folder is named; annotations or images are not in any known place; an
            annotation file is not COCO's; the splits differ in their categories.
    """
    path = _existing(root)
    train, val = _find_splits(path, COCO_LAYOUTS)
    files = [read_coco(path / split["annotations"]) for split in (train, val)]
    classes, others = ([c["name"] for c in file["categories"]] for file in files)
    if classes != others:
        raise DataError(
            f"categories of {path} differ: {classes} in {train['annotations']}, {others} in "
            f"{val['annotations']}; expected the same in the same order"
        )
    per_image = [Counter(a["image_id"] for a in file["annotations"]) for file in files]
    most = max(max(counts.values()) for counts in per_image)
    return _folder("coco", path, train, val, classes, most)


def mask_folder(root: str | None = None) -> Folder:
    """Look at a folder of images and index masks.

    Class names come from `classes.txt` (a line for each value, from 0) or `_classes.csv` (value,
    name). Without them every mask is read, and classes are counted up to the largest value but 255.

    Args:
        root: The folder. None: the environment variable HIERA_DENSE_DATA names it.

    Raises:
        DataError: No folder is named; images or masks are not in any known place; a file of names
            cannot be used; there are fewer than 2 classes, or more than 255.
    """
    path = _existing(root)
    train, val = _find_splits(path, MASK_LAYOUTS)
    classes = _names(path) or _count_classes(path, [path / s["annotations"] for s in (train, val)])
    if not 2 <= len(classes) <= IGNORE:
        raise DataError(
            f"{path} has {len(classes)} classes; expected 2 to {IGNORE} ({IGNORE} is ignored)"
        )
    return _folder("masks", path, train, val, classes, 0)


def class_folder(root: str | None = None) -> Folder:
    """Look at images in a folder for each class: `train/CLASS/` and `val/CLASS/`.

    Args:
        root: The folder. None: the environment variable HIERA_DENSE_DATA names it.

    Raises:
        DataError: No folder is named; there are no such folders, or fewer than 2 classes; there is
            a class for validation that is not trained.
    """
    path = _existing(root)
    if not (found := _splits(path, CLASS_LAYOUTS)):
        names = " or ".join(" and ".join(f"{n}/CLASS/" for n in pair) for pair in SPLIT_NAMES)
        raise DataError(f"no folders of classes in {path}; expected {names}")
    train, val = found[0]
    classes, others = (class_names(path / split["images"]) for split in (train, val))
    if len(classes) < 2:
        raise DataError(f"{path / train['images']} has the classes {classes}; expected 2 or more")
    if unknown := sorted(set(others) - set(classes)):
        raise DataError(
            f"{path / val['images']} has the classes {', '.join(unknown[:5])}, and "
            f"{path / train['images']} has not; expected no class in validation only"
        )
    return _folder("classes", path, train, val, classes, 0)


def image_folder(root: str | None = None) -> Folder:
    """Look at images without labels, or with labels that are not used.

    If the folder has train/val splits, in a layout that `coco_folder`, `mask_folder` or
    `class_folder` reads or as plain train and val folders, returns the images of each split.
    Otherwise both splits are all images below the folder.

    Args:
        root: The folder. None: the environment variable HIERA_DENSE_DATA names it.

    Raises:
        DataError: No folder is named, or there are fewer than 2 images.
    """
    path = _existing(root)
    whole = Split(images="", annotations="")
    layouts = (*COCO_LAYOUTS, *MASK_LAYOUTS, *CLASS_LAYOUTS)
    train, val = [*_splits(path, layouts), (whole, whole)][0]
    if len(find_images(path / train["images"], readable_suffixes())) < 2:
        raise DataError(f"fewer than 2 images in {path / train['images']}")
    return _folder("images", path, train, val, [], 0)


def any_folder(root: str) -> Folder:
    """Look at a labelled folder of any kind.

    Raises:
        DataError: As `coco_folder`, `mask_folder` and `class_folder`.
    """
    path = _existing(root)
    if _splits(path, MASK_LAYOUTS):
        return mask_folder(root)
    splits = [] if _splits(path, COCO_LAYOUTS) else _splits(path, CLASS_LAYOUTS)
    has_classes = any(class_names(path / train["images"]) for train, _ in splits)
    return class_folder(root) if has_classes else coco_folder(root)


def _existing(root: str | None) -> Path:
    root = root or os.environ.get(VARIABLE)
    if not root:
        raise DataError(
            "this config reads its data from a folder, and none is named; expected "
            f"hiera-dense train CONFIG --data FOLDER, or the environment variable {VARIABLE}=FOLDER"
        )
    path = Path(root).expanduser().resolve()
    if not path.is_dir():
        raise DataError(f"no folder {path}, named by --data or {VARIABLE}")
    return path


def _splits(root: Path, layouts: tuple[tuple[str, str], ...]) -> list[tuple[Split, Split]]:
    """Every pair of a training and a validation split that is there."""
    pairs = [
        [Split(images=images.format(name), annotations=labels.format(name)) for name in names]
        for images, labels in layouts
        for names in SPLIT_NAMES
    ]
    return [
        (train, val)
        for train, val in pairs
        if all(
            (root / place).exists()
            for split in (train, val)
            for place in (split["images"], split["annotations"])
        )
    ]


def _find_splits(root: Path, layouts: tuple[tuple[str, str], ...]) -> tuple[Split, Split]:
    if found := _splits(root, layouts):
        return found[0]
    places = "".join(f"\n  {images}/ and {labels}" for images, labels in layouts)
    names = ", ".join(" and ".join(pair) for pair in SPLIT_NAMES)
    raise DataError(
        f"no images with annotations in {root}; expected, for {{}} = {names}, one of{places}"
    )


def _names(root: Path) -> list[str] | None:
    """Class names from a file in the folder, if there is one."""
    path = next((root / name for name in NAME_FILES if (root / name).is_file()), None)
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if path.suffix == ".txt":
        check_names(lines, path)
        return lines
    rows = list(csv.reader(lines[1:], skipinitialspace=True))
    for number, row in enumerate(rows):
        if len(row) != 2 or row[0] != str(number):
            line = lines[number + 1]
            raise DataError(f"{path}, line {number + 2}: {line!r}; expected '{number}, name'")
    names = [name for _, name in rows]
    check_names(names, path)
    return names


def _count_classes(root: Path, folders: list[Path]) -> list[str]:
    files = [path for folder in folders for path in image_files(folder).values()]
    print(f"reading classes from {len(files)} masks; {root / NAME_FILES[0]} would spare this")
    values = {int(value) for path in files for value in np.unique(read_mask(path))}
    largest = max(values - {IGNORE}, default=0)
    if largest == 0:
        raise DataError(
            f"masks in {root} hold the values {sorted(values)} only; expected two classes or more, "
            f"counted from 0 ({IGNORE} is ignored)"
        )
    return [f"class_{i}" for i in range(largest + 1)]


def _folder(
    kind: str, root: Path, train: Split, val: Split, classes: list[str], most_instances: int
) -> Folder:
    """Colours go around the colour wheel in steps of the golden ratio, so neighbours differ."""
    wheel = [hsv_to_rgb(0.618 * i % 1, 0.75, 0.9) for i in range(len(classes))]
    return Folder(
        kind=kind,
        root=str(root),
        train=train,
        val=val,
        classes=tuple(classes),
        palette=[(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in wheel],
        most_instances=most_instances,
    )
