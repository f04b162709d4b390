"""What an import wrote, read back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from hiera_dense.labels.importing import MARK, Format, import_labels

Draw = Callable[..., Path]  # writes a file of an export


def imported(kind: Format, folder: Path, **options: Any) -> Path:
    """Import the export in a folder; returns the new one, beside it."""
    out = folder.with_name("new")
    import_labels(kind, folder, out, **options)
    return out


def counted(out: Path, part: str) -> dict[str, int]:
    """What was read, changed or lost."""
    numbers: dict[str, int] = json.loads((out / MARK).read_text("utf-8"))[part]
    return numbers


def objects(out: Path, split: str = "train") -> dict[str, list[tuple[str, list[float]]]]:
    """Class and box of each object by the name of its image; checks ids with COCO's own code."""
    coco = COCO(out / "annotations" / f"instances_{split}.json")
    names = {entry["id"]: entry["name"] for entry in coco.cats.values()}
    return {
        image["file_name"]: [
            (names[a["category_id"]], a["bbox"])
            for a in coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        ]
        for number, image in coco.imgs.items()
    }


def masks(out: Path, image: str, split: str = "train") -> list[np.ndarray[Any, Any]]:
    """The masks that an image has, as COCO's own code draws them."""
    coco = COCO(out / "annotations" / f"instances_{split}.json")
    (number,) = (n for n, entry in coco.imgs.items() if entry["file_name"] == image)
    found = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
    return [coco.annToMask(a) > 0 for a in found if "segmentation" in a]


def index_mask(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(path))
