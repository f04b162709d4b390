"""Where images and annotations of the splits lie in a folder of data, and what else is in one."""

import os
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import NotRequired, TypedDict

from hiera_dense.errors import DataError

SPLIT_NAMES = (
    ("train", "val"),
    ("train", "valid"),
    ("training", "validation"),
    ("Train", "Validation"),
)
# Images and annotations of a split; {} is its name.
COCO_LAYOUTS = (
    ("{}", "instances_{}.json"),
    ("{}", "annotations/instances_{}.json"),
    ("images/{}", "annotations/instances_{}.json"),
    ("{}2017", "annotations/instances_{}2017.json"),
    ("{}", "{}/_annotations.coco.json"),
    ("{}", "{}.json"),
    ("{}/data", "{}/labels.json"),
)
MASK_LAYOUTS = (
    ("images/{}", "annotations/{}"),
    ("{}/images", "{}/masks"),
    ("images/{}", "masks/{}"),
    ("{}/images", "{}/labels"),
    ("images/{}", "labels/{}"),
)
# Masks beside their images, with `_classes.csv` in each split, as Roboflow exports them.
BESIDE_LAYOUT = ("{}", "{}/_classes.csv")
CLASS_LAYOUTS = (("{}", "{}"),)

_MOST = 5000  # entries of a folder that are looked at to say what it holds
_PART = 1 << 16  # bytes of a JSON file that are looked at for the same
# Text in a JSON file, and which tool writes it.
_JSON_OF = (
    (b'"shapes"', "labelme's files; expected what `hiera-dense import labelme` writes"),
    (b'"_via_', "a project of VIA; expected Annotation > Export Annotations (COCO format)"),
    (b'"regions"', "annotations of VIA; expected Annotation > Export Annotations (COCO format)"),
    (
        b'"from_name"',
        "Label Studio's own JSON; expected what `hiera-dense import label-studio` writes",
    ),
)


class Split(TypedDict):
    """Folder of images, and file or folder of annotations, relative to the root.

    Where an annotation file had to be rewritten or divided, `annotations` is the file that was
    written, and `original` the one in the folder. `held_out` is there if one file is for all
    images: whether the split is every 20th image of it, or the others.
    """

    images: str
    annotations: str
    original: NotRequired[str]
    held_out: NotRequired[bool]


def splits(root: Path, layouts: tuple[tuple[str, str], ...]) -> list[tuple[Split, Split]]:
    """Every pair of a training and a validation split that is there."""
    pairs = [
        [Split(images=images.format(name), annotations=labels.format(name)) for name in names]
        for images, labels in layouts
        for names in SPLIT_NAMES
    ]
    return [
        (train, val)
        for train, val in pairs
        if all(
            (root / place).exists()
            for split in (train, val)
            for place in (split["images"], split["annotations"])
        )
    ]


def not_found(root: Path, layouts: tuple[tuple[str, str], ...]) -> DataError:
    """The error for a folder in none of the layouts: what is in it, and what is expected."""
    places = "".join(f"\n  {images}/ and {labels}" for images, labels in layouts)
    names = ", ".join(" and ".join(pair) for pair in SPLIT_NAMES)
    return DataError(
        f"no images with annotations in {root}, which holds {_contents(root)}; expected, for {{}} "
        f"= {names}, one of{places}"
    )


def _contents(root: Path) -> str:
    """Which files are in a folder, and what they probably are."""
    entries = (Path(top, name) for top, _, names in os.walk(root) for name in names)
    files = [path for path in islice(entries, _MOST) if not path.name.startswith(".")]
    if not files:
        return "no files"
    counts = Counter(path.suffix.lower() or "without a suffix" for path in files)
    what = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))
    guess = _guess(root, files, set(counts))
    return f"{what} ({guess})" if guess else what


def _guess(root: Path, files: list[Path], suffixes: set[str]) -> str | None:
    folders = {path.name for path in root.iterdir() if path.is_dir()}
    if "SegmentationClass" in folders or "labelmap.txt" in {path.name for path in files}:
        return (
            "masks of colours, as CVAT and Pascal VOC have them; expected what "
            "`hiera-dense import voc` or `import colours` writes"
        )
    if ".xml" in suffixes:
        return "probably Pascal VOC or CVAT; expected what `hiera-dense import` writes"
    if "images" in folders and folders & {"masks", "labels", "annotations"}:
        inner = min(folders & {"masks", "labels", "annotations"})
        if {path.suffix for path in files if inner in path.parts} == {".txt"}:
            return "probably the labels of YOLO; expected what `hiera-dense import yolo` writes"
        if ".json" not in suffixes:
            return "images and masks without splits; expected a folder for each split in both"
    for path in [path for path in files if path.suffix.lower() == ".json"][:3]:
        with path.open("rb") as file:
            text = file.read(_PART)
        for mark, tool in _JSON_OF:
            if mark in text:
                return tool
    return None
