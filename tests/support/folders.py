"""Folders of data, as users have them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (40, 30)  # width, height
BOX = [4, 5, 20, 10]
POLYGON = [[4, 5, 24, 5, 24, 15, 4, 15]]
CATEGORIES = [{"id": 7, "name": "cell"}, {"id": 3, "name": "debris"}]


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, "gray").save(path)


def coco(first_id: int = 1, annotations: int = 2, categories: list[dict] = CATEGORIES) -> dict:
    """One image; annotations of the categories in turn."""
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": SIZE[0], "height": SIZE[1]}],
        "annotations": [
            {
                "id": first_id + i,
                "image_id": 1,
                "category_id": categories[i % len(categories)]["id"],
                "bbox": list(BOX),
                "area": BOX[2] * BOX[3],
                "iscrowd": 0,
                "segmentation": [list(polygon) for polygon in POLYGON],
            }
            for i in range(annotations)
        ],
        "categories": [dict(category) for category in categories],
    }


def write_coco(root: Path, **changed: dict) -> Path:
    """A folder in the first layout; `train` or `val` instead of the usual content."""
    for split in ("train", "val"):
        write_image(root / split / "a.png")
        content = changed.get(split, coco())
        (root / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def write_masks(root: Path, values: list[int], suffix: str = ".jpg", ending: str = "") -> Path:
    """One image in each split; its mask has stripes of the values."""
    for split in ("training", "validation"):
        write_image(root / "images" / split / f"a{suffix}")
        mask = np.resize(np.array(values, np.uint8), SIZE[::-1])
        path = root / "annotations" / split / f"a{ending}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    return root
