"""Annotations of a user's own data: files in COCO's format, and index masks of images."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hiera_dense.data.images import find_images
from hiera_dense.errors import DataError

IGNORE = 255  # the mask value that no loss and no metric counts
# What mmdet and pycocotools read without asking whether it is there.
COCO_FIELDS = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd"),
    "categories": ("id", "name"),
}


def read_coco(path: Path) -> dict[str, Any]:
    """Read an annotation file.

    Raises:
        DataError: It is not JSON; has no images, annotations or categories, or one without a field
            that a detector needs; or two categories have one name.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    for key, fields in COCO_FIELDS.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not entries:
            raise DataError(f"{path} has no {key}; expected the file of a COCO data set")
        for entry in entries:
            if missing := [field for field in fields if field not in entry]:
                raise DataError(f"{path} has {key} without {', '.join(missing)}: {str(entry)[:80]}")
    check_names([category["name"] for category in content["categories"]], path)
    return content


def check_names(names: list[Any], path: Path) -> None:
    """Refuse class names that are not text or occur twice.

    Raises:
        DataError: A name is invalid; `path` is named in the message.
    """
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise DataError(f"{path} has the class name {wrong[0]!r}; expected text")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path} has more than one class named {', '.join(twice)}")


def image_files(folder: Path) -> dict[str, Path]:
    """The images below a folder, sorted, by relative path without suffix.

    Raises:
        DataError: Two images differ in their suffix only.
    """
    files: dict[str, Path] = {}
    for path in find_images(folder):
        stem = str(path.relative_to(folder).with_suffix(""))
        if stem in files:
            raise DataError(f"{files[stem]} and {path} have one name; expected one of them")
        files[stem] = path
    return files


def pair_masks(images: Path, masks: Path) -> dict[Path, Path | None]:
    """The mask of each image, None where there is none.

    A mask has the name of its image; or that and an ending that all masks share, such as `_mask`.
    """
    by_name = image_files(masks)
    found = image_files(images)
    endings = Counter(
        name[end:]
        for name in by_name
        for end in range(len(name) + 1)
        if name[:end] in found and not name[end : end + 1].isalnum()
    )
    ending = endings.most_common(1)[0][0] if endings else ""
    return {path: by_name.get(name + ending) for name, path in found.items()}


def read_mask(path: Path) -> np.ndarray[Any, Any]:
    """Class indices of a mask, shape (H, W).

    Raises:
        DataError: The file is damaged, or the mask has several channels.
    """
    try:
        with Image.open(path) as image:
            mask = np.asarray(image)
    except Exception as error:  # whatever a damaged file makes a parser say
        raise DataError(f"mask {path} cannot be read: {error}") from None
    if mask.ndim != 2:
        raise DataError(
            f"mask {path} has {mask.shape[-1]} channels (mode {image.mode}); expected one, the "
            "class of each pixel"
        )
    return mask
