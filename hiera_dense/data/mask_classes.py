"""Classes of index masks: from a file of names, or counted."""

import csv
from pathlib import Path

import numpy as np

from hiera_dense.data.annotations import check_names
from hiera_dense.data.masks import IGNORE, images_and_masks, read_mask
from hiera_dense.errors import DataError

NAME_FILES = ("classes.txt", "_classes.csv")
_FEW = 4  # classes, of which any may be missing


def mask_classes(root: Path, splits: list[tuple[Path, Path]]) -> list[str]:
    """Names of the classes, in the order of their values.

    Args:
        root: Where the file of names may lie; or in the first folder of masks.
        splits: Folders of images and of masks, for training and for validation.

    Raises:
        DataError: A file of names cannot be used; there are fewer than 2 classes, or more than 255;
            or values of masks are no classes.
    """
    classes = _names([root, splits[0][1]]) or _count_classes(root, splits)
    if not 2 <= len(classes) <= IGNORE:
        raise DataError(
            f"{root} has {len(classes)} classes; expected 2 to {IGNORE} ({IGNORE} is ignored)"
        )
    return classes


def implausible(values: set[int], classes: int) -> str | None:
    """What values of masks are, and what was probably meant; None where they may be classes.

    Args:
        values: All that occur, with 255.
        classes: How many there are to be.
    """
    found = values - {IGNORE}
    if len(found) > 2 or (len(found) == 2 and classes <= _FEW):
        return None
    meant = f"; {IGNORE} is ignored, 1 is probably meant" if IGNORE in values else ""
    if len(found) == 2:
        meant = "; 0 and 1 are probably meant"
    return (
        f"the values {sorted(values)} only; expected two classes or more, counted from 0 "
        f"({IGNORE} is ignored){meant}"
    )


def _names(folders: list[Path]) -> list[str] | None:
    """Class names from a file in one of the folders, if there is one."""
    places = [folder / name for folder in folders for name in NAME_FILES]
    path = next((place for place in places if place.is_file()), None)
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


def _count_classes(root: Path, splits: list[tuple[Path, Path]]) -> list[str]:
    files = [path for pair in splits for path in images_and_masks(*pair)[1].values()]
    print(f"reading classes from {len(files)} masks; {root / NAME_FILES[0]} would spare this")
    values = {int(value) for path in files for value in np.unique(read_mask(path))}
    largest = max(values - {IGNORE}, default=0)
    if wrong := implausible(values, largest + 1):
        raise DataError(f"masks in {root} hold {wrong}")
    if largest >= _FEW and len(values - {IGNORE}) <= (largest + 1) / 2:
        raise DataError(
            f"masks in {root} hold {len(values - {IGNORE})} values up to {largest}: "
            f"{sorted(values)[:10]}; expected classes counted from 0, or {root / NAME_FILES[0]} "
            "with a name for each value"
        )
    return [f"class_{i}" for i in range(largest + 1)]
