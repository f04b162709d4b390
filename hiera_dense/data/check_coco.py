"""Looking at the annotations of a folder in COCO's format."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import track

from hiera_dense.data.annotations import Annotations
from hiera_dense.data.boxes import Boxes, leaves
from hiera_dense.data.findings import Findings, Part, Seen
from hiera_dense.data.folders import BOXES_RECIPE, Folder
from hiera_dense.data.kept import (
    MIN_SIZE,
    NARROW,
    is_too_narrow,
    is_trained_on,
    why_not_evaluated,
    why_not_learned,
)
from hiera_dense.data.one_file import HOLD_OUT, read_split
from hiera_dense.data.splits import Split

COCO_DETECTIONS = 100  # of a class in an image
MANY = 0.2  # a share of annotations that is worth a note if it is lost

Entry = dict[str, Any]


def coco_part(folder: Folder, split: Split, name: str) -> Part:
    """What is to be checked of a split in COCO's format."""
    read = read_split(Path(folder["root"]), split)
    images = Path(folder["root"], split["images"])
    paths = {image["id"]: images / image["file_name"] for image in read.content["images"]}
    return Part(list(paths.values()), partial(_check, split, name, read, paths))


def _check(
    split: Split,
    name: str,
    read: Annotations,
    paths: dict[int, Path],
    seen: dict[Path, Seen],
    findings: Findings,
) -> None:
    content = read.content
    file = split.get("original", split["annotations"])
    if not split.get("held_out"):  # else they are those of the training part
        findings.extend(read.findings)
    else:
        findings.note(
            f"no splits: every {HOLD_OUT}th image is held out for validation; expected splits if "
            "images resemble each other, as those of a video do",
            f"{len(content['images'])} in {file}",
        )
    images = {image["id"]: image for image in content["images"]}
    for number, image in images.items():
        path = paths[number]
        _check_image(path, image, name, seen[path], findings)
    categories = {category["id"]: category["name"] for category in content["categories"]}
    boxes = Boxes()
    for annotation in track(content["annotations"], f"{name} annotations"):
        where = f"annotation {annotation['id']} in {file}"
        image = images[annotation["image_id"]]
        boxes.add(annotation, image, where)
        _check_annotation(annotation, image, name, where, findings)
    boxes.tell(name, findings)
    _check_kept(content["annotations"], images, categories, name, findings)
    per_image = Counter(annotation["image_id"] for annotation in content["annotations"])
    if any(annotation["id"] == 0 for annotation in content["annotations"]):
        findings.note("annotation ids from 0, evaluated as if from 1", file)
    left_out = ", left out where filter_empty_gt is set" if name == "training" else ""
    for number, image in images.items():
        if not per_image[number]:
            findings.note(f"{name} images without annotations{left_out}", image["file_name"])
    files = Counter(image["file_name"] for image in images.values())
    for twice in (file_name for file_name, count in files.items() if count > 1):
        findings.note(f"{name} images that are listed more than once", twice)
    if name == "validation":
        _check_crowded(content["annotations"], images, categories, findings)


def _check_image(path: Path, image: Entry, name: str, seen: Seen, findings: Findings) -> None:
    expected = (image["width"], image["height"])
    if seen.problem:
        findings.error(seen.problem, path)
    elif seen.size and seen.size != expected:
        turned = ", turned as their EXIF says" if seen.size == expected[::-1] else ""
        kind = f"images of another size than annotated{turned}"
        findings.error(kind, f"{path}: {seen.size}, {expected}")
    for remark in seen.remarks:
        findings.note(remark, path)
    if name == "training" and not is_trained_on(image):
        findings.note(f"training images with a side under {MIN_SIZE} px, left out", path)
    elif is_too_narrow(expected):
        findings.error(NARROW, path)


def _check_annotation(
    annotation: Entry, image: Entry, name: str, where: str, findings: Findings
) -> None:
    size = (image["width"], image["height"])
    width, height = annotation["bbox"][2:]
    if width < 1 or height < 1 or annotation["area"] <= 0:
        findings.note(
            "empty annotations, ignored in training but missed objects in evaluation", where
        )
    elif leaves(annotation["bbox"], size):
        kind = "boxes that leave their image, cut off"
        findings.note(kind, f"{where}: {annotation['bbox']} in {size}")
    mask = annotation.get("segmentation")
    if not mask:
        kind = f"annotations without a mask, for recipes of boxes only, such as {BOXES_RECIPE}"
        findings.note(kind, where)
    elif isinstance(mask, list) and any(min(p) < -1 or max(p) > max(size) + 1 for p in mask):
        findings.note("polygons that leave their image, cut off", where)
    if name == "validation" and annotation.get("ignore"):
        findings.note(
            "annotations marked ignore, which COCO's evaluation expects all the same", where
        )
    if annotation["iscrowd"] and name == "training":
        findings.note("crowd regions, whose inside counts as background", where)


def _check_kept(
    annotations: list[Entry],
    images: dict[int, Entry],
    categories: dict[int, str],
    name: str,
    findings: Findings,
) -> None:
    """Count what the host keeps, by class."""
    every: Counter[int] = Counter()
    lost: dict[int, Counter[str]] = {number: Counter() for number in categories}
    for annotation in annotations:
        every[annotation["category_id"]] += 1
        if name == "training":
            reason = why_not_learned(annotation, images[annotation["image_id"]])
        else:
            reason = why_not_evaluated(annotation)
        if reason:
            lost[annotation["category_id"]][reason] += 1
    used = "learned from" if name == "training" else "evaluated"
    if sum(map(Counter.total, lost.values())) == every.total():
        reasons = _say(sum(lost.values(), Counter()))
        kind = f"{name} annotations of which none is {used}; expected one or more"
        if {reason for counter in lost.values() for reason in counter} == {"crowd region"}:
            kind += ", with iscrowd 0 (CVAT has 1 for what is drawn by brush)"
        findings.error(kind, f"{every.total()} left out: {reasons}")
        return
    for number, label in categories.items():
        left_out = lost[number].total()
        if not every[number]:
            findings.note(f"classes without {name} instances", label)
        elif left_out == every[number]:
            kind = f"classes of which no {name} annotation is {used}"
            findings.note(kind, f"{label}: {left_out} left out: {_say(lost[number])}")
        elif left_out > MANY * every[number]:
            kind = f"classes of which over {MANY:.0%} of the {name} annotations are not {used}"
            text = f"{label}: {left_out} of {every[number]} left out: {_say(lost[number])}"
            findings.note(kind, text)


def _say(reasons: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())


def _check_crowded(
    annotations: list[Entry],
    images: dict[int, Entry],
    categories: dict[int, str],
    findings: Findings,
) -> None:
    """Look for more instances of a class in an image than COCO's mAP counts."""
    counts = Counter((a["image_id"], a["category_id"]) for a in annotations if not a["iscrowd"])
    for (image, category), count in counts.items():
        if count > COCO_DETECTIONS:
            kind = f"images with more than {COCO_DETECTIONS} instances of one class, of which mAP "
            where = f"{images[image]['file_name']}: {count} of {categories[category]}"
            findings.note(f"{kind}counts {COCO_DETECTIONS}", where)
