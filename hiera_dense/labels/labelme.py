"""LabelMe: a JSON file for each image, with shapes in px. LabelMe shows images upright."""

import base64
import binascii
import io
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from hiera_dense.errors import DataError, shown
from hiera_dense.labels.export import Export, Object, Picture, Size, Tally, classes_of
from hiera_dense.labels.files import Images, is_there, number, read_json
from hiera_dense.labels.shapes import Mask, box_around, counts_in, ellipse

_LOST = ("point", "points", "line", "linestrip")
_SPECIAL = ("__ignore__", "_background_")  # names that LabelMe's own tools leave out


def read_labelme(folder: Path, images: Path | None, tally: Tally) -> Export:
    """Read an export.

    Args:
        folder: With JSON files, in the folders in it too.
        images: Where the images are, if not in the folder.
        tally: What is counted.

    Raises:
        DataError: A file is not as LabelMe has it.
    """
    found = Images([images or folder])
    pictures, used = [], set[Path]()
    read = 0
    for file in sorted(folder.rglob("*.json")):
        content = read_json(file)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            tally.lose("JSON files without shapes", file)
            continue
        read += 1
        picture = _picture(file, content, found, tally)
        if picture is None:
            continue
        if picture.path in used:
            raise DataError(f"{file}: {picture.path} has two label files; expected one")
        used.add(picture.path)
        for place, shape in enumerate(content["shapes"], 1):
            picture.objects += _objects(shape, picture.stated, f"{file}, shape {place}", tally)
        pictures.append(picture)
    if not read:
        raise DataError(f"{folder} has no JSON file with shapes; expected those of LabelMe")
    for path in found.paths:
        if path not in used:
            tally.change("images without a label file, kept without objects", path)
            pictures.append(Picture(path))
    return Export(pictures, classes_of(pictures))


def _picture(file: Path, content: dict[str, Any], found: Images, tally: Tally) -> Picture | None:
    """The image of a label file: as the file names it, else the one beside it, or inside it."""
    width, height = (content.get(key) for key in ("imageWidth", "imageHeight"))
    is_told = isinstance(width, int) and isinstance(height, int) and min(width, height) > 0
    size = (int(width or 0), int(height or 0)) if is_told else None
    told = content.get("imagePath")
    if not isinstance(told, str) or not told:
        raise DataError(f"{file} has imagePath {shown(str(told), 40)!r}; expected a file name")
    name = PureWindowsPath(told).as_posix()
    beside = [file.parent / name, file.parent / Path(name).name]
    path = next((p.resolve() for p in beside if is_there(p) and p.is_file()), None)
    path = next((p for p in found.paths if p.resolve() == path), path) if path else None
    if path is None or path not in found.paths:
        path = found.named(name) or found.of_stem(file.stem)
    if path is not None:
        return Picture(path, stated=size)
    data = content.get("imageData")
    if not isinstance(data, str):
        tally.lose("label files without an image", f"{file}: {told}")
        return None
    try:
        pixels = base64.b64decode(data, validate=True)
        with Image.open(io.BytesIO(pixels)) as image:
            suffix = f".{(image.format or 'png').lower().replace('jpeg', 'jpg')}"
    except (binascii.Error, OSError) as error:
        raise DataError(f"{file}: its imageData is no image ({error}); expected one") from None
    tally.change("images that were inside their label file", file)
    return Picture(file.with_suffix(suffix), stated=size, content=pixels)


def _objects(shape: Any, size: Size | None, where: str, tally: Tally) -> Iterator[Object]:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
        raise DataError(f"{where} has no label; expected the name of a class")
    kind = shape.get("shape_type") or "polygon"
    if shape["label"] in _SPECIAL:
        tally.lose(f"shapes named {shape['label']}", where)
        return
    if kind in _LOST:
        tally.lose(f"shapes of the kind {kind}", where)
        return
    points = shape.get("points")
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise DataError(f"{where}: points {shown(str(points), 40)}; expected [[x, y], ...]")
    at = np.array([[number(v, where) for v in p] for p in points], float).reshape(-1, 2)
    group = shape.get("group_id")
    thing = Object(shape["label"], where, group=group)
    two = len(at) == 2
    if kind == "rectangle" and two:
        tally.take("rectangles", where)
        thing.box = box_around(at)
    elif kind == "circle" and two:
        tally.take("circles", where)
        radius = float(np.hypot(*(at[1] - at[0])))
        x, y = at[0].tolist()
        thing.polygons = [ellipse(x, y, radius, radius)]
    elif kind == "mask" and two and size:
        tally.take("masks", where)
        part = _mask(shape.get("mask"), where)
        left, top = (round(float(v)) for v in at.min(0))
        thing.counts = counts_in(part, (left, top), size)
    elif kind in ("polygon", "oriented_rectangle") and len(at) >= 3:
        tally.take("polygons", where)
        thing.polygons = [at]
    elif kind in ("polygon", "rectangle", "circle", "oriented_rectangle"):
        tally.lose(f"shapes of the kind {kind} with {len(at)} points", where)
        return
    else:
        tally.lose(f"shapes of the kind {shown(str(kind), 40)}", where)
        return
    yield thing


def _mask(data: Any, where: str) -> Mask:
    try:
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
            mask: Mask = np.asarray(image.convert("L")) > 0
            return mask
    except (TypeError, binascii.Error, OSError) as error:
        raise DataError(f"{where}: its mask is no image ({error}); expected PNG") from None
