"""One annotation file for all images, as most annotation tools export it.

It is found by what is in it, since each tool has its own name for it, and divided: every 20th image
is held out for validation.
"""

import os
from itertools import islice
from pathlib import Path
from typing import Any

from hiera_dense.data.annotations import Annotations, read_coco
from hiera_dense.data.splits import Split
from hiera_dense.errors import DataError

HOLD_OUT = 20
_MOST_FILES = 20  # JSON files that are looked at, the largest ones
_MOST_FOLDERS = 500  # in which images are looked for
_TRIED = 20  # images that are looked for
_KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"bbox"')


def read_one_file(root: Path) -> tuple[list[Split], list[Annotations]] | None:
    """The training and the validation part of a folder with one annotation file.

    Returns:
        None where no file is in COCO's format.

    Raises:
        DataError: There are several such files; or as `read_coco`; its images are in no folder; or
            fewer than two of them are annotated.
    """
    files = _files(root)
    if not files:
        return None
    if len(files) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in files)
        raise DataError(
            f"{root} has {len(files)} annotation files: {names}; expected one, or one for each "
            "split in a place of docs/own-data.md, such as annotations/instances_train.json and "
            "annotations/instances_val.json"
        )
    read = read_coco(files[0])
    annotated = {annotation["image_id"] for annotation in read.content["annotations"]}
    if len(annotated) < 2:
        raise DataError(
            f"{files[0]} has annotations in {len(annotated)} image; expected two images or more, "
            "since some are held out for validation"
        )
    images = _folder_of([image["file_name"] for image in read.content["images"]], root, files[0])
    place = str(files[0].relative_to(root))
    return (
        [Split(images=images, annotations=place, held_out=held_out) for held_out in (False, True)],
        [part_of(read, held_out) for held_out in (False, True)],
    )


def read_split(root: Path, split: Split) -> Annotations:
    """The annotations of a split, from the user's own file.

    Raises:
        DataError: As `read_coco`.
    """
    read = read_coco(root / split.get("original", split["annotations"]))
    return part_of(read, split["held_out"]) if "held_out" in split else read


def part_of(read: Annotations, held_out: bool) -> Annotations:
    """Every 20th image, or the others; images with objects and images without are counted apart."""
    images, annotations = read.content["images"], read.content["annotations"]
    usable = {a["image_id"] for a in annotations if not (a["iscrowd"] or a.get("ignore"))}
    with_objects = [image["id"] for image in images if image["id"] in usable]
    without = [image["id"] for image in images if image["id"] not in usable]
    held = {*with_objects[::HOLD_OUT], *without[::HOLD_OUT]}
    content: dict[str, Any] = dict(read.content)
    content["images"] = [i for i in images if (i["id"] in held) == held_out]
    content["annotations"] = [a for a in annotations if (a["image_id"] in held) == held_out]
    return Annotations(content, read.findings)


def _files(root: Path) -> list[Path]:
    """The files in COCO's format in a folder and in the folders in it."""
    found = [
        path
        for pattern in ("*.json", "*/*.json")
        for path in root.glob(pattern)
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(root).parts)
    ]
    largest = sorted(found, key=lambda path: path.stat().st_size, reverse=True)[:_MOST_FILES]
    return sorted(path for path in largest if _is_coco(path))


def _is_coco(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return all(key in content for key in _KEYS)


def _folder_of(names: list[str], root: Path, file: Path) -> str:
    """The folder in which the images of a file are, relative to the root."""
    tried = names[:: max(1, len(names) // _TRIED)][:_TRIED]
    inner = (Path(top) for top, _, _ in os.walk(root))
    counts = {
        folder: sum((folder / name).is_file() for name in tried)
        for folder in dict.fromkeys([file.parent, *islice(inner, _MOST_FOLDERS)])
    }
    best = max(counts, key=lambda folder: counts[folder])
    if not counts[best]:
        raise DataError(
            f"{file} names images such as {names[0]!r}, which are in no folder of {root}; expected "
            "them in images/ or beside the file"
        )
    return str(best.relative_to(root))
