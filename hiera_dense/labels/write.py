"""Writes the folders that our recipes read: COCO's format, or images and index masks."""

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hiera_dense.data.masks import IGNORE
from hiera_dense.data.rle import box_of, encode_counts
from hiera_dense.errors import DataError
from hiera_dense.labels import shapes
from hiera_dense.labels.colours import UNKNOWN, indexed
from hiera_dense.labels.export import Export, Object, Picture, Size, Tally
from hiera_dense.labels.files import Frame

Ready = list[tuple[Picture, Frame]]
_DIGITS = 3  # of coordinates, px
_IDENTICAL = 1  # as the file has it: EXIF's orientation


def place_images(ready: Ready, folder: Path) -> dict[Path, str]:
    """Put the images into `images/SPLIT/`, linked where the file system can, else copied.

    A hard link is another name of the same file: it takes no room, and stays if the other goes.

    Returns:
        Names in the folder of their split, below the folder that all of a split have in common.
    """
    names: dict[Path, str] = {}
    by_split: dict[str, list[Picture]] = defaultdict(list)
    for picture, _ in ready:
        by_split[str(picture.split)].append(picture)
    for split, pictures in by_split.items():
        paths = [Path(os.path.abspath(picture.path)) for picture in pictures]
        common = os.path.commonpath([path.parent for path in paths])
        for picture, path in zip(pictures, paths, strict=True):
            names[picture.path] = name = path.relative_to(common).as_posix()
            target = folder / "images" / split / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if picture.content is not None:
                target.write_bytes(picture.content)
                continue
            try:
                os.link(os.path.realpath(path), target)
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(path, target)
    return names


def write_coco(
    ready: Ready, classes: list[str], folder: Path, names: dict[Path, str]
) -> dict[str, int]:
    """Write `annotations/instances_SPLIT.json` for each split; returns objects by split."""
    by_split: dict[str, dict[str, list[dict[str, Any]]]] = {}
    numbers = {name: number for number, name in enumerate(classes, 1)}
    for picture, frame in ready:
        kinds = [{"id": number, "name": name} for name, number in numbers.items()]
        empty: dict[str, list[dict[str, Any]]] = dict(images=[], annotations=[], categories=kinds)
        content = by_split.setdefault(str(picture.split), empty)
        width, height = frame.upright
        image = len(content["images"]) + 1
        entry = {"id": image, "file_name": names[picture.path], "width": width, "height": height}
        content["images"].append(entry)
        for thing in picture.objects:
            ids = {"id": len(content["annotations"]) + 1, "image_id": image}
            ids |= {"category_id": numbers[thing.label], "iscrowd": 0}
            content["annotations"].append(ids | _annotation(thing, frame.upright))
    (folder / "annotations").mkdir()
    for split, content in by_split.items():
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return {split: len(content["annotations"]) for split, content in by_split.items()}


def write_masks(
    ready: Ready, export: Export, folder: Path, names: dict[Path, str], tally: Tally
) -> dict[str, int]:
    """Write `masks/SPLIT/` and `classes.txt`; returns masks by split.

    Raises:
        DataError: There are too many classes; a mask is not of its image's size; two images of a
            split differ in their suffix alone; the masks are not in the colours of the table.
    """
    if len(export.classes) > IGNORE:
        raise DataError(f"{len(export.classes)} classes; expected {IGNORE} or fewer in index masks")
    written: dict[Path, Path] = {}
    seen: set[int] = set()
    counts: dict[str, int] = defaultdict(int)
    for picture, frame in ready:
        target = (folder / "masks" / str(picture.split) / names[picture.path]).with_suffix(".png")
        if target in written:
            raise DataError(
                f"{written[target]} and {picture.path} differ in their suffix alone; expected "
                "names of their own, as their masks have"
            )
        written[target] = picture.path
        if picture.mask:
            labels = _upright(indexed(picture.mask, export, tally), picture, frame)
        else:
            labels = _painted(picture, frame.upright, export.classes)
        seen.update(np.unique(labels).tolist())
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(target)
        counts[str(picture.split)] += 1
    if len(seen - {IGNORE}) < 2 and (unknown := tally.lost.get(UNKNOWN)):
        raise DataError(
            f"the masks have fewer than two colours of the table, and others, first {unknown[0]}; "
            "expected its colours; masks whose values are numbers of classes need no import"
        )
    (folder / "classes.txt").write_text("\n".join(export.classes) + "\n", encoding="utf-8")
    return dict(counts)


def _upright(labels: shapes.Mask, picture: Picture, frame: Frame) -> shapes.Mask:
    size = (labels.shape[1], labels.shape[0])
    if size == frame.upright:
        return labels
    if size == frame.stored and frame.orientation != _IDENTICAL:
        return shapes.turned_mask(labels, frame.orientation)
    raise DataError(f"mask {picture.mask} is {size}; expected {frame.upright}, as {picture.path}")


def _painted(picture: Picture, size: Size, classes: list[str]) -> shapes.Mask:
    """Objects as an index mask; deeper ones first, later ones over earlier ones."""
    labels = np.zeros((size[1], size[0]), np.uint8)
    for thing in sorted(picture.objects, key=lambda thing: thing.depth):
        labels[shapes.drawn(thing, size)] = classes.index(thing.label)
    return labels


def _annotation(thing: Object, size: Size) -> dict[str, Any]:
    """The fields of an annotation that tell the shape."""
    width, height = size
    if thing.counts is not None:
        box = box_of(thing.counts, height) or (0.0, 0.0, 0.0, 0.0)
        counts = encode_counts(thing.counts)
        area = float(thing.counts[1::2].sum())
        return _fields(box, area) | {"segmentation": {"size": [height, width], "counts": counts}}
    if thing.polygons:
        box = shapes.box_around(np.concatenate(thing.polygons))
        area = sum(map(shapes.area, thing.polygons))
        lists = [polygon.round(_DIGITS).ravel().tolist() for polygon in thing.polygons]
        return _fields(box, area) | {"segmentation": lists}
    assert thing.box
    left, top, right, bottom = thing.box
    return _fields(thing.box, (right - left) * (bottom - top))


def _fields(box: tuple[float, float, float, float], area: float) -> dict[str, Any]:
    left, top, right, bottom = box
    sides = (left, top, right - left, bottom - top)
    return {"bbox": [round(side, _DIGITS) for side in sides], "area": round(area, _DIGITS)}
