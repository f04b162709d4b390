"""Made-up truth and detections in COCO's format, with every kind of mistake in them."""

from typing import Any

import numpy as np

CLASSES = ("cell", "debris", "other")
SIDE = 200  # px of an image


def scenes(
    seed: int, images: int = 12, kind: str = "bbox", crowd: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects, and detections that are near them, of the wrong class, twice, or nowhere.

    Args:
        seed: Of what is drawn.
        images: How many.
        kind: `bbox`, or `segm` for polygons and masks of boxes.
        crowd: Whether some objects are crowd regions.

    Returns:
        A data set in COCO's format; results for it, each of another score.
    """
    rng = np.random.default_rng(seed)
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        boxes = [_box(rng) for _ in range(rng.integers(0, 7))]
        for box in boxes:
            label = int(rng.integers(1, 4))
            is_crowd = crowd and rng.random() < 0.2
            truth.append(_annotation(image, label, box, len(truth) + 1, is_crowd))
            for _ in range(rng.integers(0, 3)):
                shift = rng.normal(0, box[2] * rng.choice([0.02, 0.25]), 2).round()
                moved = [max(0.0, box[0] + shift[0]), max(0.0, box[1] + shift[1]), *box[2:]]
                other = int(rng.integers(1, 4)) if rng.random() < 0.25 else label
                found.append(dict(image_id=image, category_id=other, bbox=moved))
        found += [
            dict(image_id=image, category_id=int(rng.integers(1, 4)), bbox=_box(rng))
            for _ in range(rng.integers(0, 3))
        ]
    for entry, score in zip(found, rng.permutation(len(found)), strict=True):
        entry["score"] = (float(score) + 1) / (len(found) + 1)
        if kind == "segm":
            entry["segmentation"] = _rle(entry.pop("bbox"))
    return dict(
        images=[
            dict(id=i, file_name=f"{i}.png", width=SIDE, height=SIDE) for i in range(1, images + 1)
        ],
        annotations=truth,
        categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, start=1)],
    ), found


def _box(rng: np.random.Generator) -> list[float]:
    width, height = rng.integers(8, 90, 2)
    left, top = rng.integers(0, SIDE - width), rng.integers(0, SIDE - height)
    return [float(left), float(top), float(width), float(height)]


def _annotation(
    image: int, label: int, box: list[float], number: int, crowd: bool
) -> dict[str, Any]:
    left, top, width, height = box
    right, bottom = left + width, top + height
    return dict(
        id=number,
        image_id=image,
        category_id=label,
        bbox=box,
        area=width * height,
        iscrowd=int(crowd),
        segmentation=[[left, top, right, top, right, bottom, left, bottom]],
    )


def _rle(box: list[float]) -> dict[str, Any]:
    from pycocotools import mask

    left, top, width, height = (int(side) for side in box)
    pixels = np.zeros((SIDE, SIDE), np.uint8, order="F")
    pixels[top : top + height, left : left + width] = 1
    encoded = mask.encode(pixels)
    return dict(size=[SIDE, SIDE], counts=encoded["counts"].decode())
