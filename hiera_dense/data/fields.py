"""Types, ranges and relations in an annotation file, before any other library reads it.

mmdet and pycocotools take values as they are: a coordinate that is NaN or 1e9 takes all memory, the
text "0" counts as true. What is harmless is rewritten (`normalised`); the rest is an error by name.
"""

import re
from collections import Counter
from collections.abc import Callable
from math import isfinite
from os.path import isabs, normpath
from typing import Any

import numpy as np

from hiera_dense.data.findings import Findings, shown
from hiera_dense.data.rle import read_counts

MAX_PIXELS = 178_956_970  # of an image, as many as Pillow reads
MAX_ID = 2**53  # whole numbers that a float holds, as in the tables of an evaluation
MAX_AREA = 1e12
REACH = 10  # how far from an image a coordinate may lie, in sides of the image
MAX_OUTLINE = 2e6  # px of all sides of a polygon; pycocotools takes about 80 bytes for each
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_NUMBERS = {int, float}
_FLAGS = {"0": 0, "1": 1, False: 0, True: 1, None: 0}
_MISSING = object()

Entry = dict[str, Any]


def normalised(content: dict[str, list[Any]], file: str) -> Findings:
    """Check every field of a file in COCO's format, and rewrite what is harmless.

    Args:
        content: Lists of images, annotations and categories; rewritten in place. Where there is an
            error, only part of it is.
        file: Its name, for the findings.

    Returns:
        Errors, and notes of what was rewritten.
    """
    findings = Findings()
    for key, entries in content.items():
        for entry in (entry for entry in entries if not isinstance(entry, dict)):
            kind = f"{key} that are no objects; expected {{...}} with the fields of COCO"
            findings.error(kind, f"{shown(entry)} in {file}")
    if findings.errors:
        return findings
    images = _by_id(content["images"], _image, file, findings)
    categories = _by_id(content["categories"], _category, file, findings)
    for annotation in content["annotations"]:
        if _annotation_ids(annotation, images, categories, file, findings):
            where = f"annotation {annotation['id']} in {file}"
            if image := images[annotation["image_id"]]:
                _annotation(annotation, image, where, findings)
    for key, entries in content.items():
        counts = Counter(e["id"] for e in entries if type(e.get("id")) is int)
        for number in (number for number, count in counts.items() if count > 1):
            findings.error(f"{key} that share an id; expected one of each", f"{number} in {file}")
    return findings


def _by_id(
    entries: list[Entry],
    check: Callable[[Entry, str, Findings], bool],
    file: str,
    findings: Findings,
) -> dict[int, Entry | None]:
    """Entries by id; None for one in which something is wrong, which is found once."""
    found: dict[int, Entry | None] = {}
    for entry in entries:
        is_right = check(entry, file, findings)
        if type(entry.get("id")) is int:
            found[entry["id"]] = entry if is_right else None
    return found


def _image(image: Entry, file: str, findings: Findings) -> bool:
    where = f"image {shown(image.get('id'))} in {file}"
    numbers = [_whole(image, key, where, findings) for key in ("id", "width", "height")]
    if not _file_name(image, where, findings) or None in numbers:
        return False
    width, height = image["width"], image["height"]
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        kind = "images of an impossible size; expected width and height from 1 px, and up to "
        findings.error(f"{kind}{MAX_PIXELS / 1e6:.0f} million pixels", f"{where}: {width, height}")
        return False
    return True


def _file_name(image: Entry, where: str, findings: Findings) -> bool:
    name: Any = image.get("file_name")
    if not _is_text(name):
        kind = "images without a file_name; expected text"
        findings.error(kind, f"{where}: {shown(name)}")
        return False
    if isabs(name) or normpath(name).split("/")[0] == ".." or "\0" in name:
        kind = "images outside of the folder of images; expected a path in it"
        findings.error(kind, f"{where}: {shown(name)}")
        return False
    return True


def _category(category: Entry, file: str, findings: Findings) -> bool:
    where = f"category {shown(category.get('id'))} in {file}"
    if _whole(category, "id", where, findings) is None:
        return False
    if not _is_text(name := category.get("name")):
        findings.error("categories without a name; expected text", f"{where}: {shown(name)}")
        return False
    return True


def _annotation_ids(
    annotation: Entry,
    images: dict[int, Entry | None],
    categories: dict[int, Entry | None],
    file: str,
    findings: Findings,
) -> bool:
    """Whether an annotation has an id, and is of an image and a category that are known."""
    where = f"annotation {shown(annotation.get('id'))} in {file}"
    keys = ("id", "image_id", "category_id")
    if None in [_whole(annotation, key, where, findings) for key in keys]:
        return False
    known = True
    for key, kind, entries in (
        ("image_id", "image", images),
        ("category_id", "category", categories),
    ):
        if annotation[key] not in entries:
            plural = "images" if kind == "image" else "categories"
            text = f"annotations of no {kind}; expected the id of one of the {plural}"
            findings.error(text, f"{where}: {annotation[key]}")
            known = False
    return known


def _annotation(annotation: Entry, image: Entry, where: str, findings: Findings) -> None:
    """The fields that are more than ids."""
    _flag(annotation, "iscrowd", where, findings)
    if "ignore" in annotation:
        _flag(annotation, "ignore", where, findings)
    size = (image["width"], image["height"])
    is_box = _box(annotation, size, where, findings)
    mask_area = _mask(annotation, size, where, findings)
    area = annotation.get("area")
    if area is None:
        if is_box:
            box = annotation["bbox"]
            annotation["area"] = mask_area if mask_area is not None else box[2] * box[3]
            kind = "annotations without an area, computed from the mask or else the box"
            findings.change(kind, where)
        return
    number = _number(area)
    if number is None or abs(number) > MAX_AREA:
        findings.error("areas that are no finite number; expected px", f"{where}: {shown(area)}")
    elif number is not area:
        annotation["area"] = number
        findings.change("areas that are text", f"{where}: {shown(area)}")


def _flag(annotation: Entry, key: str, where: str, findings: Findings) -> None:
    value = annotation.get(key, _MISSING)
    if type(value) is int and value in (0, 1):
        return
    if value is _MISSING:
        annotation[key] = 0
        findings.change(f"annotations without {key}, read as 0", where)
    elif isinstance(value, (str, bool, float, type(None))) and value in _FLAGS:
        annotation[key] = _FLAGS[value]
        findings.change(f"{key} that is not the number 0 or 1", f"{where}: {shown(value)}")
    else:
        findings.error(f"{key} that is not 0 or 1; expected 0 or 1", f"{where}: {shown(value)}")


def _box(annotation: Entry, size: tuple[int, int], where: str, findings: Findings) -> bool:
    box = annotation.get("bbox")
    numbers = _coordinates(box) if isinstance(box, list) and len(box) == 4 else None
    if numbers is None:
        kind = "boxes that are not x, y, width, height; expected four finite numbers of px"
        findings.error(kind, f"{where}: {shown(box)}")
        return False
    if max(map(abs, numbers)) > REACH * max(size):
        kind = f"boxes of more than {REACH} times their image; expected px of it"
        findings.error(kind, f"{where}: {shown(box)} in {size}")
        return False
    if numbers is not box:
        annotation["bbox"] = numbers
        findings.change("boxes whose numbers are text", f"{where}: {shown(box)}")
    return True


def _mask(annotation: Entry, size: tuple[int, int], where: str, findings: Findings) -> float | None:
    """Check a mask, if there is one; returns its area, where that is easy."""
    mask = annotation.get("segmentation")
    if mask is None or mask == [] or mask == {}:
        return None
    if isinstance(mask, dict):
        return _rle(mask, size, where, findings)
    if not isinstance(mask, list):
        kind = "masks that are neither polygons nor RLE; expected [[x, y, ...], ...] or "
        findings.error(f'{kind}{{"size": ..., "counts": ...}}', f"{where}: {shown(mask)}")
        return None
    if not any(isinstance(part, (list, dict)) for part in mask):
        mask = [mask]
        findings.change("polygons that are not in a list of polygons", where)
    polygons = [_polygon(part, size, where, findings) for part in mask]
    if None in polygons:
        return None
    whole = [polygon for polygon in polygons if polygon]
    if not whole:
        kind = "masks without an area; expected a polygon of three points or more"
        findings.error(kind, f"{where}: {shown(mask)}")
        return None
    if len(whole) < len(polygons):
        findings.change("polygons of fewer than three points beside others, left away", where)
    if len(whole) < len(mask) or any(a is not b for a, b in zip(whole, mask, strict=True)):
        mask = whole
    annotation["segmentation"] = mask
    return sum(map(_area, whole)) if annotation.get("area") is None else None


def _polygon(
    polygon: Any, size: tuple[int, int], where: str, findings: Findings
) -> list[float] | None:
    """Coordinates of a polygon, none where it has fewer than three points; None: an error."""
    example = f"{where}: {shown(polygon)}"
    if isinstance(polygon, dict):
        kind = 'lists of RLE masks; expected one mask, {"size": ..., "counts": ...}'
        findings.error(kind, example)
        return None
    numbers = _coordinates(polygon) if isinstance(polygon, list) else None
    if numbers is None or len(numbers) % 2:
        kind = "polygons that are not x, y, x, y, ...; expected an even number of finite numbers"
        findings.error(kind, example)
        return None
    if len(numbers) < 6:
        return []
    least, most = min(numbers), max(numbers)
    if max(-least, most) > REACH * max(size) or (
        len(numbers) * (most - least) > MAX_OUTLINE and _outline(numbers) > MAX_OUTLINE
    ):
        kind = f"polygons of more than {REACH} times their image, or of endless outline"
        findings.error(f"{kind}; expected px of the image", f"{example} in {size}")
        return None
    if numbers is not polygon:
        findings.change("polygons whose numbers are text", example)
    return numbers


def _rle(mask: Entry, size: tuple[int, int], where: str, findings: Findings) -> float | None:
    expected = [size[1], size[0]]
    if mask.get("size") != expected or {*map(type, mask["size"])} != {int}:
        kind = "RLE masks of another size than their image; expected height, width"
        findings.error(kind, f"{where}: {shown(mask.get('size'))}, {expected}")
        return None
    counts = read_counts(mask.get("counts"), size)
    if counts is None:
        kind = "RLE masks that cannot be decoded; expected counts whose sum is width x height"
        findings.error(kind, f"{where}: {shown(mask.get('counts'))}")
        return None
    return float(counts[1::2].sum())


def _whole(entry: Entry, key: str, where: str, findings: Findings) -> int | None:
    """A field as a whole number, which replaces text and floats that are one."""
    value = entry.get(key)
    if type(value) is int and -MAX_ID <= value <= MAX_ID:
        return value
    number = _number(value)
    is_one = number is not None and number == int(number) and abs(number) <= MAX_ID
    if number is None or not is_one or (isinstance(value, str) and str(int(number)) != value):
        kind = f"{key} that is no whole number; expected one"
        findings.error(kind, f"{where}: {shown(value)}")
        return None
    findings.change(f"{key} that is text or has a decimal point", f"{where}: {shown(value)}")
    entry[key] = found = int(number)
    return found


def _number(value: Any) -> float | int | None:
    """A finite number, also where it is written as text; None: there is none."""
    if type(value) is int:
        return value if abs(value) <= MAX_ID else None
    if type(value) is float:
        return value if isfinite(value) else None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return None


def _coordinates(values: list[Any]) -> list[float] | None:
    """Finite numbers, the list itself where it holds nothing else; None: something is not."""
    if values and {*map(type, values)} <= _NUMBERS:
        # A sum is quick, and NaN or infinite if one number is.
        is_small = min(values) > -MAX_AREA and max(values) < MAX_AREA
        return values if is_small and isfinite(sum(values)) else None
    numbers = [_number(value) for value in values]
    return None if None in numbers else numbers  # type: ignore[return-value]


def _points(polygon: list[float]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    points = np.array(polygon, float).reshape(-1, 2)
    return points, np.roll(points, -1, axis=0)


def _outline(polygon: list[float]) -> float:
    points, following = _points(polygon)
    return float(np.abs(following - points).sum())


def _area(polygon: list[float]) -> float:
    (x, y), (next_x, next_y) = (part.T for part in _points(polygon))
    return float(abs((x * next_y - next_x * y).sum()) / 2)


def _is_text(value: Any) -> bool:
    """Whether a value is text that can be printed, and be the name of a file."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a character, which JSON may hold
        return False
    return True
