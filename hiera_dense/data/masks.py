"""Index masks beside images: which belongs to which, and what is in one."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hiera_dense.data.images import find_images
from hiera_dense.errors import DataError

IGNORE = 255  # the mask value that no loss and no metric counts
_LOSSY = (".jpg", ".jpeg")
_BESIDE = "_mask"  # the ending of masks that lie in the folder of their images


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


def images_and_masks(images: Path, masks: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks by name. In one folder, masks are those that end in `_mask`."""
    if images != masks:
        return image_files(images), image_files(masks)
    files = image_files(images)
    beside = {
        name: path
        for name, path in files.items()
        if name.endswith(_BESIDE) and name.removesuffix(_BESIDE) in files
    }
    return {name: path for name, path in files.items() if name not in beside}, beside


def pair_masks(images: Path, masks: Path) -> dict[Path, Path | None]:
    """The mask of each image, None where there is none.

    A mask has the name of its image; or that and an ending that all masks share, such as `_mask`.
    """
    found, by_name = images_and_masks(images, masks)
    endings = Counter(
        name[end:]
        for name in by_name
        for end in range(len(name) + 1)
        if name[:end] in found and not name[end : end + 1].isalnum()
    )
    ending = endings.most_common(1)[0][0] if endings else ""
    return {path: by_name.get(name + ending) for name, path in found.items()}


def refuse_other_labels(folder: Path) -> None:
    """Refuse a folder of labels that has files, but none of them a mask.

    Raises:
        DataError: The suffixes are those of no index mask.
    """
    if find_images(folder):
        return
    names = (path.suffix.lower() for path in folder.rglob("*") if not path.name.startswith("."))
    suffixes = sorted(set(filter(None, names)))
    if not suffixes:
        return
    what = "the labels of YOLO" if suffixes == [".txt"] else ", ".join(suffixes[:5])
    raise DataError(
        f"{folder} has no mask, but {what}; expected index masks as PNG, BMP, TIFF or WebP, the "
        "class of each pixel"
    )


def read_mask(path: Path) -> np.ndarray[Any, Any]:
    """Class indices of a mask, shape (H, W).

    Raises:
        DataError: The file is damaged, or is no index mask: it has several channels, values that
            are no whole numbers, or is a JPEG file.
    """
    if path.suffix.lower() in _LOSSY:
        raise DataError(
            f"mask {path} is a JPEG file, which does not keep values as they are; expected PNG"
        )
    try:
        with Image.open(path) as image:
            mask = np.asarray(image)
    except Exception as error:  # whatever a damaged file makes a parser say
        raise DataError(f"mask {path} cannot be read: {error}") from None
    if mask.ndim != 2:
        channels = mask.shape[-1] if mask.ndim else 0
        raise DataError(
            f"mask {path} has {channels} channels (mode {image.mode}); expected one, the "
            "class of each pixel (`hiera-dense import colours` makes them from masks of colours)"
        )
    if mask.dtype.kind == "b":
        return mask.astype(np.uint8)
    if mask.dtype.kind not in "iu":
        what = "NaN" if np.isnan(mask).any() else f"numbers of {mask.dtype}"
        raise DataError(
            f"mask {path} holds {what}; expected whole numbers, the class of each pixel"
        )
    return mask
