"""Types, ranges and relations in an annotation file, before any other library reads it.

mmdet and pycocotools take values as they are: a coordinate that is NaN or 1e9 takes all memory, the
text "0" counts as true. What is harmless is rewritten (`normalised`); the rest is an error by name.
"""

from collections import Counter
from collections.abc import Callable
from os.path import isabs, normpath
from typing import Any

from hiera_dense.data.findings import Findings, shown
from hiera_dense.data.segmentation import REACH, check_mask
from hiera_dense.data.values import MAX_AREA, Entry, coordinates, is_text, number_in, whole

MAX_PIXELS = 178_956_970  # of an image, as many as Pillow reads
_FLAGS = {"0": 0, "1": 1, False: 0, True: 1, None: 0}
_MISSING = object()


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
    _leave_out_twins(content["categories"], file, findings)
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


def _leave_out_twins(categories: list[Entry], file: str, findings: Findings) -> None:
    """Leave one of each category; VIA lists one for each region."""
    known: dict[str, Entry] = {}
    for category in categories:
        if known.setdefault(repr((category.get("id"), category.get("name"))), category) is category:
            continue
        where = f"category {shown(category.get('id'))} in {file}"
        findings.change("categories that are listed more than once", where)
    categories[:] = known.values()


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
    numbers = [whole(image, key, where, findings) for key in ("id", "width", "height")]
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
    if not is_text(name):
        kind = "images without a file_name; expected text"
        findings.error(kind, f"{where}: {shown(name)}")
        return False
    if "\\" in name:  # written on Windows
        findings.change("file names with \\ in place of /", f"{where}: {shown(name)}")
        image["file_name"] = name = name.replace("\\", "/")
    if isabs(name) or normpath(name).split("/")[0] == ".." or "\0" in name:
        kind = "images outside of the folder of images; expected a path in it"
        findings.error(kind, f"{where}: {shown(name)}")
        return False
    return True


def _category(category: Entry, file: str, findings: Findings) -> bool:
    where = f"category {shown(category.get('id'))} in {file}"
    if whole(category, "id", where, findings) is None:
        return False
    if not is_text(name := category.get("name")):
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
    if None in [whole(annotation, key, where, findings) for key in keys]:
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
    mask_area = check_mask(annotation, size, where, findings)
    area = annotation.get("area")
    if area is None:
        if is_box:
            box = annotation["bbox"]
            annotation["area"] = mask_area if mask_area is not None else box[2] * box[3]
            kind = "annotations without an area, computed from the mask or else the box"
            findings.change(kind, where)
        return
    number = number_in(area)
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
    numbers = coordinates(box) if isinstance(box, list) and len(box) == 4 else None
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
