"""Label Studio: its JSON export, with regions in percent of the image, which is shown upright."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from hiera_dense.data.images import SUFFIXES
from hiera_dense.data.rle import counts_of
from hiera_dense.errors import DataError, shown
from hiera_dense.labels.brush import read_brush
from hiera_dense.labels.export import Export, Object, Picture, Size, Tally, classes_of
from hiera_dense.labels.files import Images, number, only_file, read_json
from hiera_dense.labels.shapes import ellipse, rectangle, turned

_READ = {"rectangle": "boxes", "polygon": "polygons", "ellipse": "ellipses", "brush": "brushes"}
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # which Label Studio puts before names


def read_label_studio(folder: Path, images: Path | None, tally: Tally) -> Export:
    """Read an export.

    Args:
        folder: With one JSON file; or that file.
        images: Where the images are, if not in the folder.
        tally: What is counted.

    Raises:
        DataError: The file is not as Label Studio has it.
    """
    file = only_file(folder, "json", "one, or its path")
    tasks = read_json(file)
    if not isinstance(tasks, list) or not tasks or not all(isinstance(t, dict) for t in tasks):
        raise DataError(f"{file} is no list of tasks; expected Label Studio's export as JSON")
    found = Images([images or file.parent])
    pictures, used = [], set[Path]()
    for place, task in enumerate(tasks, 1):
        where = f"{file}, task {task.get('id', place)}"
        annotations = task.get("annotations", task.get("completions"))
        if not isinstance(annotations, list):
            raise DataError(f"{where} has no annotations; expected an export as JSON, not JSON-MIN")
        address = _address(task, where)
        path = _image(address, found)
        if path is None:
            tally.lose("tasks without an image", f"{where}: {shown(address)}")
            continue
        if path in used:
            tally.lose("tasks of an image that another one is of", where)
            continue
        used.add(path)
        picture = Picture(path)
        pictures.append(picture)
        result = _result(annotations, where, tally)
        if not result:
            tally.change("images without labels, kept without objects", where)
        regions: dict[str, list[dict[str, Any]]] = {}
        for number_, region in enumerate(result):
            regions.setdefault(repr(region.get("id", number_)), []).append(region)
        for parts in regions.values():
            picture.objects += _objects(parts, picture, where, tally)
    for path in found.paths:
        if path not in used:
            tally.lose("images without a task", path)
    return Export(pictures, classes_of(pictures))


def _address(task: dict[str, Any], where: str) -> str:
    """What a task calls its image."""
    data = task.get("data")
    texts = [v for v in data.values() if isinstance(v, str)] if isinstance(data, dict) else []
    named = [text for text in texts if _path_in(text).lower().endswith(SUFFIXES)]
    if isinstance(data, dict) and isinstance(data.get("image"), str):
        named.insert(0, data["image"])
    if not named:
        raise DataError(f"{where} names no image in data; expected its path or address")
    return str(named[0])


def _path_in(address: str) -> str:
    """The path in an address; `/data/local-files/?d=...` has it behind a question mark."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path)


def _image(address: str, found: Images) -> Path | None:
    path = Path(_path_in(address))
    if not path.name:
        return None
    plain = path.with_name(_UPLOADED.sub("", path.name))
    named = found.named(str(path)) or found.named(str(plain))
    return named if named or path.suffix else found.of_stem(path.name)


def _result(annotations: list[Any], where: str, tally: Tally) -> list[dict[str, Any]]:
    """The last annotation that was not cancelled."""
    kept = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
    for _ in range(len(annotations) - len(kept)):
        tally.lose("annotations that were cancelled", where)
    for _ in kept[:-1]:
        tally.lose("annotations of an image but the last one", where)
    result = kept[-1].get("result", []) if kept else []
    if not isinstance(result, list) or not all(isinstance(region, dict) for region in result):
        raise DataError(f"{where}: a result that is no list of regions; expected one")
    return result


def _objects(
    parts: list[dict[str, Any]], picture: Picture, where: str, tally: Tally
) -> Iterator[Object]:
    """A region; its shape and its labels may be entries of one id."""
    where = f"{where}, region {shown(str(parts[0].get('id')), 40)}"
    values = [part["value"] for part in parts if isinstance(part.get("value"), dict)]
    lists = [names for v in values for key, names in v.items() if key.endswith("labels")]
    if not all(isinstance(names, list) for names in lists):
        raise DataError(f"{where}: labels that are no list; expected names of classes in one")
    labels = [name for names in lists for name in names]
    kinds = {str(part.get("type")).removesuffix("labels"): part for part in parts}
    kind = next((k for k in kinds if k in _READ), None)
    if kind is None:
        tally.lose(f"regions of the kind {shown(', '.join(kinds), 60)}", where)
        return
    if not labels:
        tally.lose("regions without a class", where)
        return
    region = kinds[kind]
    if number(region.get("image_rotation") or 0, where) % 360:
        tally.lose("regions of an image that was turned in the editor", where)
        return
    for _ in labels[1:]:
        tally.lose("further classes of a region", where)
    sides = [int(number(region.get(f"original_{k}"), where)) for k in ("width", "height")]
    picture.stated = size = (sides[0], sides[1])
    tally.take(_READ[kind], where)
    yield _shape(kind, region["value"], size, Object(str(labels[0]), where), tally)


def _shape(kind: str, value: dict[str, Any], size: Size, thing: Object, tally: Tally) -> Object:
    scale = np.array(size, float) / 100

    def px(*keys: str) -> list[float]:
        shares = [number(value.get(key), f"{thing.where}, {key}") for key in keys]
        return [float(v) for v in np.array(shares) * scale]

    angle = number(value.get("rotation") or 0, thing.where)
    if kind == "brush":
        data = value.get("rle")
        try:
            mask = read_brush(data if isinstance(data, list) else [], size)
        except DataError as error:
            raise DataError(f"{thing.where}: its brush cannot be read: {error}") from None
        thing.counts = counts_of(mask, (0, 0), (size[1], size[0]))
        return thing
    if kind == "polygon":
        points = value.get("points")
        if not isinstance(points, list) or not all(
            isinstance(point, list) and len(point) == 2 for point in points
        ):
            raise DataError(f"{thing.where}: no points; expected [[x, y], ...]")
        shares = [[number(v, thing.where) for v in point] for point in points]
        thing.polygons = [np.array(shares, float).reshape(-1, 2) * scale]
        return thing
    x, y = px("x", "y")
    if kind == "ellipse":
        rx, ry = px("radiusX", "radiusY")
        thing.polygons = [ellipse(x, y, rx, ry, angle)]
        return thing
    width, height = px("width", "height")
    box = (x, y, x + width, y + height)
    if angle % 360:
        tally.change("turned boxes, which become polygons", thing.where)
        thing.polygons = [turned(rectangle(box), angle, (x, y))]
    else:
        thing.box = box
    return thing
