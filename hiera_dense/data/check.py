"""Checks every file and annotation of a user's own folder of data before training."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from rich.progress import track

from hiera_dense.data.annotations import IGNORE, image_files, pair_masks, read_coco, read_mask
from hiera_dense.data.folders import Folder, Split
from hiera_dense.data.images import find_images, readable_suffixes
from hiera_dense.errors import DataError

ORIENTATION = 0x0112  # an EXIF tag; from 5 on, width and height change places when an image is read
COCO_DETECTIONS = 100  # of a class in an image
NAMES = 20  # of classes that are printed


class Findings:
    """What was found: the examples of each kind.

    `errors` would stop or spoil a training; `notes` are worth knowing.
    """

    def __init__(self) -> None:
        self.errors: dict[str, list[str]] = {}
        self.notes: dict[str, list[str]] = {}

    def error(self, kind: str, example: object) -> None:
        self.errors.setdefault(kind, []).append(str(example))

    def note(self, kind: str, example: object) -> None:
        self.notes.setdefault(kind, []).append(str(example))


def check(folder: Folder) -> Findings:
    """Check both splits of a folder, with a progress bar."""
    findings = Findings()
    splits = {"training": folder["train"], "validation": folder["val"]}
    if folder["train"] == folder["val"]:  # one set of images, from which some are held out
        splits = {"all": folder["train"]}
    for name, split in splits.items():
        CHECKS[folder["kind"]](folder, split, name, findings)
    return findings


def tell(folder: Folder, findings: Findings) -> None:
    """Print what was found.

    Raises:
        DataError: There are errors.
    """
    classes = folder["classes"]
    names = f": {', '.join(classes[:NAMES])}" if classes else ""
    more = ", ..." if len(classes) > NAMES else ""
    print(f"{folder['root']}: {len(classes)} classes{names}{more}")
    for title, found in (("note", findings.notes), ("error", findings.errors)):
        for kind, examples in found.items():
            print(f"  {title}: {kind}: {len(examples)}, first {examples[0]}")
    if findings.errors:
        raise DataError(f"{folder['root']} cannot be trained on; see the errors above")


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height as an image is read, None if it cannot be."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ORIENTATION, 1) >= 5
            return image.size[::-1] if turned else image.size
    except Exception:  # whatever a damaged file makes a parser say
        return _tiff_size(path) if path.suffix.lower() in (".tif", ".tiff") else None


def _tiff_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a TIFF file, also of many channels, which Pillow does not read."""
    try:
        import tifffile  # mmcv reads such files with it, where it is installed
    except ModuleNotFoundError:
        return None
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            return page.imagewidth, page.imagelength
    except Exception:  # whatever a damaged file makes a parser say
        return None


def _check_coco(folder: Folder, split: Split, name: str, findings: Findings) -> None:
    content = read_coco(Path(folder["root"]) / split["annotations"])
    images = {image["id"]: image for image in content["images"]}
    if len(images) < len(content["images"]):
        findings.error("images that share an id", split["annotations"])
    for image in track(images.values(), f"{name} images"):
        _check_image(Path(folder["root"]) / split["images"], image, findings)
    categories = {category["id"]: category["name"] for category in content["categories"]}
    for annotation in track(content["annotations"], f"{name} annotations"):
        where = f"annotation {annotation['id']} in {split['annotations']}"
        if annotation["image_id"] not in images:
            findings.error(
                "annotations with an unknown image_id", f"{where}: {annotation['image_id']}"
            )
        elif annotation["category_id"] not in categories:
            kind = "annotations with an unknown category_id"
            findings.error(kind, f"{where}: {annotation['category_id']}")
        else:
            _check_annotation(annotation, images[annotation["image_id"]], name, where, findings)
        if annotation["iscrowd"] and name == "training":
            findings.note("crowd regions, whose inside counts as background", where)
    ids, per_image, per_class = (
        Counter(annotation[key] for annotation in content["annotations"])
        for key in ("id", "image_id", "category_id")
    )
    for number in (number for number, count in ids.items() if count > 1):
        findings.error("annotations that share an id", f"{number} in {split['annotations']}")
    if 0 in ids:
        findings.note("annotation ids from 0, evaluated as if from 1", split["annotations"])
    left_out = ", left out where filter_empty_gt is set" if name == "training" else ""
    for number, image in images.items():
        if not per_image[number]:
            findings.note(f"{name} images without annotations{left_out}", image["file_name"])
    if name == "validation":
        _check_crowded(content["annotations"], images, categories, findings)
    for number in (number for number in categories if not per_class[number]):
        findings.note(f"classes without {name} instances", categories[number])


def _check_crowded(
    annotations: list[dict[str, Any]],
    images: dict[int, dict[str, Any]],
    categories: dict[int, str],
    findings: Findings,
) -> None:
    """Look for more instances of a class in an image than COCO's mAP counts."""
    counts = Counter((a["image_id"], a["category_id"]) for a in annotations if not a["iscrowd"])
    for (image, category), count in counts.items():
        if count > COCO_DETECTIONS and image in images:
            most = COCO_DETECTIONS
            kind = f"images with more than {most} instances of one class, of which mAP counts"
            where = f"{images[image]['file_name']}: {count} of {categories.get(category)}"
            findings.note(f"{kind} {most}", where)


def _check_image(folder: Path, image: dict[str, Any], findings: Findings) -> None:
    path = folder / image["file_name"]
    expected = (image["width"], image["height"])
    if not path.is_file():
        findings.error("missing images", path)
    elif (size := _size(path)) is None:
        findings.error("unreadable images", path)
    elif size != expected:
        findings.error("images of another size than annotated", f"{path}: {size}, {expected}")


def _check_annotation(
    annotation: dict[str, Any], image: dict[str, Any], name: str, where: str, findings: Findings
) -> None:
    size = (image["width"], image["height"])
    if len(annotation["bbox"] or ()) != 4:
        findings.error("boxes that are not x, y, width, height", f"{where}: {annotation['bbox']}")
        return
    left, top, width, height = annotation["bbox"]
    if width < 1 or height < 1 or annotation["area"] <= 0:
        kind = "empty annotations, ignored in training but counted as missed objects in evaluation"
        findings.note(kind, where)
    elif left < -1 or top < -1 or left + width > size[0] + 1 or top + height > size[1] + 1:
        kind = "boxes that leave their image, cut off"
        findings.note(kind, f"{where}: {annotation['bbox']} in {size}")
    segmentation = annotation.get("segmentation")
    if not segmentation:
        findings.error("annotations without a mask (polygons or RLE)", where)
    elif isinstance(segmentation, dict) and segmentation.get("size") != [size[1], size[0]]:
        kind = "RLE masks of another size (height, width) than their image"
        findings.error(kind, f"{where}: {segmentation.get('size')}, {[size[1], size[0]]}")
    elif not _is_readable(segmentation, size):
        found = f"{where}: {str(segmentation)[:60]}"
        if name == "training":
            findings.note("training masks that pycocotools cannot read, left out", found)
        else:
            findings.error("validation masks that pycocotools cannot read", found)


def _is_readable(segmentation: Any, size: tuple[int, int]) -> bool:
    """Whether polygons or RLE become a mask of the image, for pycocotools and mmdet."""
    width, height = size
    if isinstance(segmentation, list) and any(len(polygon) % 2 for polygon in segmentation):
        return False
    try:
        if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
            coco_mask.decode(segmentation)
        else:
            coco_mask.frPyObjects(segmentation, height, width)
    except Exception:  # its errors are of many kinds
        return False
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], list):
        return sum(segmentation["counts"]) == height * width
    return True


def _check_masks(folder: Folder, split: Split, name: str, findings: Findings) -> None:
    root = Path(folder["root"])
    images, masks = root / split["images"], root / split["annotations"]
    pairs = pair_masks(images, masks)
    if not pairs:
        findings.error("folders without images", images)
    classes = folder["classes"]
    seen: set[int] = set()
    for image, mask in track(pairs.items(), f"{name} images and masks"):
        if mask is None:
            findings.error("images without a mask", image)
            continue
        for kind, example in _check_pair(image, mask, len(classes), seen):
            findings.error(kind, example)
    for path in set(image_files(masks).values()) - set(pairs.values()):
        findings.note("masks without an image", path)
    for value in sorted(set(range(len(classes))) - seen):
        findings.note(f"classes without {name} pixels", f"{value} ({classes[value]})")


def _check_pair(image: Path, mask: Path, classes: int, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Errors of an image and its mask; adds the values of the mask to those seen."""
    size = _size(image)
    if size is None:
        yield "unreadable images", str(image)
        return
    try:
        content = read_mask(mask)
    except DataError as error:
        yield "masks that are no index masks", str(error)
        return
    if content.shape != size[::-1]:
        yield "masks of another size than their image", f"{mask}: {content.shape[::-1]}, {size}"
    values = set(np.unique(content).tolist()) - {IGNORE}
    seen |= values
    if outside := sorted(value for value in values if not 0 <= value < classes):
        expected = f"0 to {classes - 1}, or {IGNORE} to ignore"
        yield f"masks with values outside the classes ({expected})", f"{mask}: {outside}"


def _check_images(folder: Folder, split: Split, name: str, findings: Findings) -> None:
    root = Path(folder["root"], split["images"])
    for path in track(find_images(root, readable_suffixes()), f"{name} images"):
        if _size(path) is None:
            findings.note("unreadable images, to be skipped", path)
    for label in folder["classes"]:
        if not find_images(root / label, readable_suffixes()):
            findings.note(f"classes without {name} images", label)


CHECKS = {
    "coco": _check_coco,
    "masks": _check_masks,
    "classes": _check_images,
    "images": _check_images,
}
