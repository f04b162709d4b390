"""A user's own folder of data: the images, annotations and classes in it.

The data configs call `coco_folder` or `mask_folder` when they are parsed, so that heads have the
size that the data need, in our commands and in the hosts' tools. What they return is plain data.
"""

import os
from collections import Counter
from colorsys import hsv_to_rgb
from pathlib import Path
from typing import TypedDict

from hiera_dense.data.annotations import read_coco
from hiera_dense.data.images import class_names, find_images, readable_suffixes
from hiera_dense.data.mask_classes import mask_classes
from hiera_dense.data.masks import refuse_other_labels
from hiera_dense.data.one_file import read_one_file
from hiera_dense.data.rewritten import as_read
from hiera_dense.data.splits import (
    BESIDE_LAYOUT,
    CLASS_LAYOUTS,
    COCO_LAYOUTS,
    MASK_LAYOUTS,
    SPLIT_NAMES,
    Split,
    not_found,
    splits,
)
from hiera_dense.errors import DataError

VARIABLE = "HIERA_DENSE_DATA"
BOXES_RECIPE = "faster-rcnn-own-data"
_NO_CLASSES = {"images", "labels", "masks", "annotations"}  # names of folders, but not of classes


class Folder(TypedDict):
    """What a config needs to know.

    Images without labels have no classes. If a folder has no splits, both splits are all of it.
    `most_instances` is the largest number of instances in an image, and `without_mask` counts boxes
    without one; both are 0 for all but COCO's format.
    """

    kind: str  # 'coco', 'masks', 'classes' or 'images'
    root: str
    train: Split
    val: Split
    classes: tuple[str, ...]
    palette: list[tuple[int, int, int]]  # RGB, one for each class
    most_instances: int
    without_mask: int


def coco_folder(root: str | None = None) -> Folder:
    """Look at a folder in COCO's format.

    If there is one annotation file for all images, every 20th image is held out for validation.

    Args:
        root: The folder. None: the environment variable HIERA_DENSE_DATA names it.

    Raises:
        DataError: No folder is named; annotations or images are not in any known place; an
            annotation file is not COCO's, or holds what detectors cannot use; the splits differ in
            their categories.
        WriteError: A file had to be rewritten, and cannot be.
    """
    path = _existing(root)
    if pairs := splits(path, COCO_LAYOUTS):
        found = list(pairs[0])
        files = [read_coco(path / split["annotations"]) for split in found]
    elif one := read_one_file(path):
        found, files = one
    else:
        raise not_found(path, COCO_LAYOUTS)
    classes, others = ([c["name"] for c in file.content["categories"]] for file in files)
    train, val = found
    if classes != others:
        raise DataError(
            f"categories of {path} differ: {classes} in {train['annotations']}, {others} in "
            f"{val['annotations']}; expected the same in the same order"
        )
    per_image = [Counter(a["image_id"] for a in file.content["annotations"]) for file in files]
    most = max(max(counts.values()) for counts in per_image)
    train, val = (as_read(path, *pair) for pair in zip(found, files, strict=True))
    alone = sum(not a.get("segmentation") for file in files for a in file.content["annotations"])
    return _folder("coco", path, train, val, classes, most, alone)


def with_masks(folder: Folder) -> Folder:
    """A folder in COCO's format, for a recipe that learns masks.

    Raises:
        DataError: There are annotations without a mask.
    """
    if folder["without_mask"]:
        raise DataError(
            f"{folder['root']} has {folder['without_mask']} annotations without a mask; expected "
            f"polygons or RLE, or a recipe for boxes: {BOXES_RECIPE}"
        )
    return folder


def mask_folder(root: str | None = None) -> Folder:
    """Look at a folder of images and index masks.

    Class names come from `classes.txt` (a line for each value, from 0) or `_classes.csv` (value,
    name), in the folder or in that of the training masks. Without them every mask is read, and
    classes are counted up to the largest value but 255.

    Args:
        root: The folder. None: the environment variable HIERA_DENSE_DATA names it.

    Raises:
        DataError: No folder is named; images or masks are not in any known place; a file of names
            cannot be used; there are fewer than 2 classes, or more than 255.
    """
    path = _existing(root)
    if beside := splits(path, (BESIDE_LAYOUT,)):
        train, val = (Split(images=s["images"], annotations=s["images"]) for s in beside[0])
    else:
        if not (pairs := splits(path, MASK_LAYOUTS)):
            raise not_found(path, MASK_LAYOUTS)
        train, val = pairs[0]
    for split in (train, val):
        refuse_other_labels(path / split["annotations"])
    classes = mask_classes(
        path, [(path / s["images"], path / s["annotations"]) for s in (train, val)]
    )
    return _folder("masks", path, train, val, classes)


def class_folder(root: str | None = None) -> Folder:
    """Look at images in a folder for each class: `train/CLASS/` and `val/CLASS/`.

    Args:
        root: The folder. None: the environment variable HIERA_DENSE_DATA names it.

    Raises:
        DataError: No folder is named; there are no such folders, or fewer than 2 classes; there is
            a class for validation that is not trained.
    """
    path = _existing(root)
    if not (found := splits(path, CLASS_LAYOUTS)):
        names = " or ".join(" and ".join(f"{n}/CLASS/" for n in pair) for pair in SPLIT_NAMES)
        raise DataError(f"no folders of classes in {path}; expected {names}")
    train, val = found[0]
    classes, others = (class_names(path / split["images"]) for split in (train, val))
    if len(classes) < 2:
        raise DataError(f"{path / train['images']} has the classes {classes}; expected 2 or more")
    if set(classes) <= _NO_CLASSES:
        raise DataError(
            f"{path / train['images']} has the folders {', '.join(classes)}, which are no classes; "
            "expected index masks in masks/ beside images/, or a folder for each class"
        )
    if unknown := sorted(set(others) - set(classes)):
        raise DataError(
            f"{path / val['images']} has the classes {', '.join(unknown[:5])}, and "
            f"{path / train['images']} has not; expected no class in validation only"
        )
    return _folder("classes", path, train, val, classes)


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
    train, val = [*splits(path, layouts), (whole, whole)][0]
    if len(find_images(path / train["images"], readable_suffixes())) < 2:
        raise DataError(f"fewer than 2 images in {path / train['images']}")
    return _folder("images", path, train, val, [])


def any_folder(root: str) -> Folder:
    """Look at a labelled folder of any kind.

    Raises:
        DataError: As `coco_folder`, `mask_folder` and `class_folder`.
    """
    path = _existing(root)
    is_coco = bool(splits(path, COCO_LAYOUTS))
    masks = splits(path, (*MASK_LAYOUTS, BESIDE_LAYOUT))
    # Beside annotations in COCO's format a folder of labels may be that of another tool.
    if masks and not (is_coco and not find_images(path / masks[0][0]["annotations"])):
        return mask_folder(root)
    pairs = [] if is_coco else splits(path, CLASS_LAYOUTS)
    has_classes = any(class_names(path / train["images"]) for train, _ in pairs)
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


def _folder(
    kind: str,
    root: Path,
    train: Split,
    val: Split,
    classes: list[str],
    most_instances: int = 0,
    without_mask: int = 0,
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
        without_mask=without_mask,
    )
