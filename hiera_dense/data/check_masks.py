"""Looking at index masks and their images."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import track

from hiera_dense.data.findings import Findings, Part, Seen
from hiera_dense.data.folders import Folder
from hiera_dense.data.kept import NARROW, is_too_narrow
from hiera_dense.data.mask_classes import implausible
from hiera_dense.data.masks import IGNORE, images_and_masks, pair_masks, read_mask
from hiera_dense.data.splits import Split
from hiera_dense.errors import DataError


def mask_part(folder: Folder, split: Split, name: str) -> Part:
    """What is to be checked of a split of images and index masks."""
    images, masks = (Path(folder["root"], split[key]) for key in ("images", "annotations"))
    pairs = pair_masks(images, masks)
    return Part(list(pairs), partial(_check, folder, images, masks, name, pairs))


def _check(
    folder: Folder,
    images: Path,
    masks: Path,
    name: str,
    pairs: dict[Path, Path | None],
    seen: dict[Path, Seen],
    findings: Findings,
) -> None:
    if not pairs:
        findings.error("folders without images", images)
    classes = folder["classes"]
    values: set[int] = set()
    for image, mask in track(pairs.items(), f"{name} images and masks"):
        for remark in seen[image].remarks:
            findings.note(remark, image)
        if mask is None:
            findings.error("images without a mask", image)
            continue
        for kind, example in _check_pair(image, mask, len(classes), seen[image], values):
            findings.error(kind, example)
    used = {mask for mask in pairs.values() if mask}
    for path in sorted(set(images_and_masks(images, masks)[1].values()) - used):
        findings.note("masks without an image", path)
    known = values & set(range(len(classes)))
    if values == known | {IGNORE} or values == known:
        wrong = implausible(values, len(classes)) if values else None
        if wrong and len(known) < 2:
            tell = findings.note if name == "validation" else findings.error
            tell(f"{name} masks with fewer than two classes", f"{masks}: {wrong}")
    for value in sorted(set(range(len(classes))) - values):
        findings.note(f"classes without {name} pixels", f"{value} ({classes[value]})")


def _check_pair(
    image: Path, mask: Path, classes: int, seen: Seen, values: set[int]
) -> Iterator[tuple[str, str]]:
    """Errors of an image and its mask; adds the values of the mask to those that occur."""
    if seen.problem:
        yield seen.problem, str(image)
        return
    if seen.size and is_too_narrow(seen.size):
        yield NARROW, str(image)
    try:
        content = read_mask(mask)
    except DataError as error:
        yield "masks that are no index masks", str(error)
        return
    if seen.size and content.shape != seen.size[::-1]:
        size = f"{mask}: {content.shape[::-1]}, {seen.size}"
        yield "masks of another size than their image", size
    found = set(np.unique(content).tolist())
    values |= found
    if outside := sorted(value for value in found - {IGNORE} if not 0 <= value < classes):
        expected = f"0 to {classes - 1}, or {IGNORE} to ignore"
        yield f"masks with values outside the classes ({expected})", f"{mask}: {outside[:10]}"
