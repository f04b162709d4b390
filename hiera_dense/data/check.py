"""Checks every file and annotation of a user's own folder of data before training."""

from functools import partial
from pathlib import Path

from hiera_dense.data.check_coco import coco_part
from hiera_dense.data.check_masks import mask_part
from hiera_dense.data.decode import HOSTS, PILLOW, Reader
from hiera_dense.data.findings import Findings, Part, Seen
from hiera_dense.data.folders import Folder
from hiera_dense.data.images import find_images, readable_suffixes
from hiera_dense.data.processes import BUDGET, How, look
from hiera_dense.data.splits import Split
from hiera_dense.errors import DataError

NAMES = 20  # of classes, as many as are told


def check(
    folder: Folder, decode: How = "some", reader: Reader | None = HOSTS, budget: float = BUDGET
) -> Findings:
    """Check both splits of a folder, with a progress bar.

    Args:
        folder: From `folders`.
        decode: Decode all images; some, as many as fit into the budget; or none, which reads their
            headers only.
        reader: How a training of the folder reads images, if that is known.
        budget: Of seconds, for the decoding.
    """
    findings = Findings()
    splits = {"training": folder["train"], "validation": folder["val"]}
    if folder["train"] == folder["val"]:  # one set of images, from which some are held out
        splits = {"all": folder["train"]}
    parts = [PARTS[folder["kind"]](folder, split, name) for name, split in splits.items()]
    if folder["kind"] in ("classes", "images"):
        reader = PILLOW
    seen = look([path for part in parts for path in part.paths], decode, reader, budget)
    for part in parts:
        part.check(seen, findings)
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
    for line in findings.lines():
        print(f"  {line}")
    if findings.errors:
        raise DataError(f"{folder['root']} cannot be trained on; see the errors above")


def _image_part(folder: Folder, split: Split, name: str) -> Part:
    paths = find_images(Path(folder["root"], split["images"]), readable_suffixes())
    return Part(paths, partial(_check_images, folder, split, name, paths))


def _check_images(
    folder: Folder,
    split: Split,
    name: str,
    paths: list[Path],
    seen: dict[Path, Seen],
    findings: Findings,
) -> None:
    for path in paths:
        if seen[path].problem:
            findings.note(f"{seen[path].problem}, to be skipped", path)
    for label in folder["classes"]:
        if not find_images(Path(folder["root"], split["images"], label), readable_suffixes()):
            findings.note(f"classes without {name} images", label)


PARTS = {"coco": coco_part, "masks": mask_part, "classes": _image_part, "images": _image_part}
