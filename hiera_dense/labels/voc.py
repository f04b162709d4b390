"""Pascal VOC: boxes in XML, and masks of colours with or without masks of objects.

Pixels are counted from 1, and the last one belongs to the box, as in VOC's own files. In a file
with a 0 or a fraction, numbers are edges, counted from 0, as LabelMe and CVAT write them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from hiera_dense.data.images import find_images
from hiera_dense.data.rle import counts_by_label
from hiera_dense.errors import DataError
from hiera_dense.labels.colours import BORDER, PASCAL, read_table, rgb
from hiera_dense.labels.export import (
    Box,
    Colour,
    Export,
    Object,
    Picture,
    Size,
    Tally,
    classes_of,
    split_named,
)
from hiera_dense.labels.files import Element, Images, names_in, number, partners, read_xml
from hiera_dense.labels.shapes import Mask

_CLASSES, _OBJECTS = "SegmentationClass", "SegmentationObject"
_LISTS = ("Main", "Segmentation", "")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_STATE = re.compile(r"\s+-?[01]$")  # behind names in the lists of a class
_NO_OBJECT = (0, 255)  # in masks of objects: background, and borders


def read_voc(folder: Path, images: Path | None, tally: Tally, masks: bool = False) -> Export:
    """Read an export: objects with masks, where there are any; else boxes; else masks.

    Args:
        folder: With `Annotations`, or XML beside images; or with `SegmentationClass`.
        images: Where the images are, if not in the folder.
        tally: What is counted.
        masks: Read masks of colours, though there are boxes or objects.

    Raises:
        DataError: A file is not as VOC has it.
    """
    coloured = find_images(folder / _CLASSES)
    objects = find_images(folder / _OBJECTS)
    xml = sorted(path for path in folder.rglob("*.xml") if path.is_file())
    found = Images([images] if images else _image_folders(folder))
    coloured_of, objects_of, xml_of = (partners(f, found.paths) for f in (coloured, objects, xml))
    splits = _splits(folder, bool(coloured and (masks or objects or not xml)))
    if not (coloured or xml):
        raise DataError(f"{folder} has no Annotations and no {_CLASSES}; expected one of them")
    if masks and not coloured:
        raise DataError(f"{folder} has no {_CLASSES}; expected masks of colours in it")
    if coloured and (masks or not (objects or xml)):
        table = read_table(folder) or PASCAL
        pictures = []
        for path in found.paths:
            split, mask = splits.get(path.stem), coloured_of.get(path)
            if mask is None:
                tally.lose("images without a mask", path)
                continue
            tally.take("masks of colours", mask)
            pictures.append(Picture(path, split or _split_of(path, folder), mask=mask))
        _lose(coloured, coloured_of, "masks without an image", tally)
        return Export(pictures, [n for n in dict.fromkeys(table.values()) if n], table)
    pictures = []
    for path in found.paths:
        picture = Picture(path, splits.get(path.stem) or _split_of(path, folder))
        file = xml_of.get(path)
        if objects and coloured:
            if path not in objects_of or path not in coloured_of:
                tally.lose("images without masks of objects", path)
                continue
            table = read_table(folder) or PASCAL
            pair = (objects_of[path], coloured_of[path])
            picture.objects = list(_of_masks(*pair, table, tally))
            with Image.open(pair[0]) as opened:
                picture.stated = opened.size
        elif file is None:
            tally.change("images without a label file, kept without objects", path)
        else:
            picture.stated, picture.objects = _of_xml(file, tally)
        pictures.append(picture)
    _lose(xml, xml_of, "label files without an image", tally)
    _lose(objects, objects_of, "masks without an image", tally)
    return Export(pictures, classes_of(pictures))


def _of_xml(path: Path, tally: Tally) -> tuple[Size | None, list[Object]]:
    root = read_xml(path)
    names = ("size/width", "size/height")
    sides = [number(root.findtext(name) or 0, f"{path}, {name}") for name in names]
    size = (int(sides[0]), int(sides[1])) if min(sides) > 0 else None
    things = []
    for place, entry in enumerate(root.iter("object"), 1):
        where = f"{path}, object {place}"
        name = (entry.findtext("name") or "").strip()
        if not name:
            raise DataError(f"{where} has no name; expected its class")
        if entry.find("bndbox") is None:
            raise DataError(f"{where} has no bndbox; expected xmin, ymin, xmax and ymax")
        tally.take("boxes", where)
        if entry.find("polygon") is not None:
            tally.lose("polygons beside boxes", where)
        for part in entry.findall("part"):
            tally.lose("parts of objects", f"{where}: {part.findtext('name')}")
        if entry.findtext("difficult") == "1":
            tally.change("objects marked difficult, which are kept as any other", where)
        things.append(Object(name, where, _box(entry, where)))
    # One box that starts at 0, or has a fraction, tells how the whole file is counted.
    boxes = [thing.box for thing in things if thing.box]
    if all(min(box) >= 1 and all(side == int(side) for side in box) for box in boxes):
        for thing in things:
            if thing.box:
                left, top, right, bottom = thing.box
                thing.box = (left - 1, top - 1, right, bottom)
    return size, things


def _box(entry: Element, where: str) -> Box:
    values = [number(entry.findtext(f"bndbox/{side}"), f"{where}, {side}") for side in _CORNERS]
    left, top, right, bottom = values
    return left, top, right, bottom


def _of_masks(
    objects: Path, coloured: Path, table: dict[Colour, str | None], tally: Tally
) -> Iterator[Object]:
    """An object for each value; its class is the one that most of its pixels have."""
    with Image.open(objects) as image:
        # CVAT and Datumaro write colours in place of indices.
        single = image.mode in ("P", "L", "I", "I;16")
        numbers = np.asarray(image).astype(np.int64) if single else _numbered(rgb(objects))
    classes = _numbered(rgb(coloured))
    if numbers.shape != classes.shape:
        raise DataError(f"{objects} is {numbers.shape}; expected {classes.shape}, as {coloured}")
    for value, counts in counts_by_label(numbers).items():
        if value in (_NO_OBJECT if single else (0, _number(BORDER))):
            continue
        where = f"{objects}, object {value}"
        inside, times = np.unique(classes[numbers == value], return_counts=True)
        colour = int(inside[times.argmax()])
        key = (colour >> 16, colour >> 8 & 255, colour & 255)
        name = table.get(key)
        if name is None:
            tally.lose("objects whose colour is no class", f"{where}: {key}")
            continue
        tally.take("masks of objects", where)
        yield Object(name, where, counts=counts)


def _number(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _numbered(pixels: Mask) -> Mask:
    parts = pixels.astype(np.int64)
    numbers: Mask = parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2]
    return numbers


def _image_folders(folder: Path) -> list[Path]:
    """VOC's own folder of images; else all folders but those of masks."""
    usual = [folder / name for name in ("JPEGImages", "images") if (folder / name).is_dir()]
    others = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("Segmentation")]
    return usual or [*others, folder] if not (folder / _CLASSES).is_dir() else usual or others


def _splits(folder: Path, of_masks: bool) -> dict[str, str]:
    """The split of each image by its stem, from the lists in `ImageSets`."""
    found: dict[str, str] = {}
    for kind in _LISTS if not of_masks else ("Segmentation", "Main", ""):
        for path in sorted((folder / "ImageSets" / kind).glob("*.txt")):
            if split := split_named(path.stem):
                for line in names_in(path):
                    found.setdefault(Path(_STATE.sub("", line)).name, split)
        if found:
            return found
    return found


def _split_of(path: Path, folder: Path) -> str | None:
    """By the name of a folder, as in an export of Roboflow."""
    if not path.is_relative_to(folder):
        return None
    return next(filter(None, map(split_named, path.relative_to(folder).parts[:-1])), None)


def _lose(files: list[Path], read: dict[Path, Path], kind: str, tally: Tally) -> None:
    taken = set(read.values())
    for path in files:
        if path not in taken:
            tally.lose(kind, path)
