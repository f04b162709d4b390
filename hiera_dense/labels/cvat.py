"""CVAT for images 1.1: one XML file, with shapes in px. CVAT shows images upright."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hiera_dense.errors import DataError, shown
from hiera_dense.labels.export import (
    Export,
    Object,
    Picture,
    Points,
    Size,
    Tally,
    classes_of,
    split_named,
)
from hiera_dense.labels.files import Element, Images, number, only_file, read_xml
from hiera_dense.labels.shapes import Mask, counts_in, ellipse, rectangle, turned

_LOST = ("points", "polyline", "cuboid", "skeleton", "tag")
_LARGEST = 1 << 30  # px of an image with masks
_READ = {"box": "boxes", "polygon": "polygons", "ellipse": "ellipses", "mask": "masks"}


def read_cvat(folder: Path, images: Path | None, tally: Tally) -> Export:
    """Read an export.

    Args:
        folder: With one XML file; or that file.
        images: Where the images are, if not in the folder.
        tally: What is counted.

    Raises:
        DataError: The file is not as CVAT has it, or is of a video.
    """
    file = only_file(folder, "xml", "one, annotations.xml")
    root = read_xml(file)
    if root.tag != "annotations":
        raise DataError(f"{file} holds <{root.tag}>; expected <annotations>, as CVAT writes it")
    if root.find("track") is not None:
        raise DataError(
            f"{file} has tracks of a video; expected an export as 'CVAT for images 1.1', which "
            "holds the shapes of each frame"
        )
    names = [label.findtext("name") or "" for label in root.findall("meta//labels/label")]
    kinds = [label.findtext("type") or "any" for label in root.findall("meta//labels/label")]
    known = [n for n, k in zip(names, kinds, strict=True) if n and k not in _LOST]
    found = Images([images or file.parent])
    pictures, used = [], set[Path]()
    for entry in root.findall("image"):
        name = entry.get("name") or ""
        subset = entry.get("subset") or ""
        where = f"{file}, image {shown(name, 60)}"
        path = (found.named(f"{subset}/{name}") if subset else None) or found.named(name)
        if path is None:
            tally.lose("images in the XML file that are not there", where)
            continue
        if path in used:
            raise DataError(f"{where}: is {path}, as another one; expected an image of its own")
        used.add(path)
        width, height = (int(number(entry.get(k), f"{where}, {k}")) for k in ("width", "height"))
        in_folders = filter(None, map(split_named, Path(name).parts[:-1]))
        picture = Picture(path, split_named(subset) or next(in_folders, None))
        picture.stated = (width, height)
        for place, shape in enumerate(entry, 1):
            picture.objects += _objects(shape, picture.stated, f"{where}, shape {place}", tally)
        pictures.append(picture)
    for path in found.paths:
        if path not in used:
            tally.lose("images that the XML file does not name", path)
    return Export(pictures, classes_of(pictures, list(dict.fromkeys(known))))


def _objects(shape: Element, size: Size, where: str, tally: Tally) -> Iterator[Object]:
    kind, label = shape.tag, shape.get("label") or ""
    if kind not in _READ:
        tally.lose(f"shapes of the kind {shown(kind, 40)}", where)
        return
    if not label:
        tally.lose("shapes without a class", where)
        return
    tally.take(_READ[kind], where)

    def value(key: str, default: str | None = None) -> float:
        return number(shape.get(key, default), f"{where}, {key}")

    thing = Object(label, where, depth=int(value("z_order", "0")))
    group = int(value("group_id", "0"))
    thing.group = group or None
    if kind == "box":
        box = (value("xtl"), value("ytl"), value("xbr"), value("ybr"))
        if angle := value("rotation", "0"):
            tally.change("turned boxes, which become polygons", where)
            centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            thing.polygons = [turned(rectangle(box), angle, centre)]
        else:
            thing.box = box
    elif kind == "ellipse":
        axes = (value("cx"), value("cy"), value("rx"), value("ry"))
        thing.polygons = [ellipse(*axes, value("rotation", "0"))]
    elif kind == "mask":
        sides = [int(value(key)) for key in ("left", "top", "width", "height")]
        part = _mask(shape.get("rle") or "", sides[2], sides[3], size, where)
        thing.counts = counts_in(part, (sides[0], sides[1]), size)
    else:
        thing.polygons = [_points(shape.get("points") or "", where)]
    yield thing


def _points(text: str, where: str) -> Points:
    pairs = [pair.split(",") for pair in text.split(";")]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise DataError(f"{where}: points {shown(text, 40)!r}; expected three or more as x,y;x,y")
    return np.array([[number(v, where) for v in pair] for pair in pairs], float)


def _mask(text: str, width: int, height: int, size: Size, where: str) -> Mask:
    """Runs by rows within a box, the first of them background."""
    runs = [int(number(run, where)) for run in text.split(",")]
    sides = shown(f"{width} x {height}", 40)
    if width > size[0] or height > size[1] or size[0] * size[1] > _LARGEST:
        raise DataError(f"{where}: a mask of {sides} px; expected one within its image")
    if min(runs) < 0 or min(width, height) < 1 or sum(runs) != width * height:
        raise DataError(
            f"{where}: runs of {shown(str(sum(runs)), 40)} px; expected {sides} px, as its width "
            "and height say"
        )
    mask: Mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return mask
