"""What a training of mmdet learns from, and what COCO's evaluation counts.

The rules are those of `CocoDataset.parse_data_info` and `filter_data` in mmdet 3, with the
`filter_cfg` of configs/_base_/datasets/coco_folder.py; tests hold them to the real class.
"""

from typing import Any

MIN_SIZE = 16  # px of the shorter side of an image, under which it is not trained on

MOST_NARROW = 512  # times as long as wide: 256 px then leave half a pixel
NARROW = (
    f"images of one pixel, or {MOST_NARROW} times as long as wide, at which the hosts stop; "
    "expected more"
)


def is_trained_on(image: dict[str, Any]) -> bool:
    """Whether the filter keeps an image that has annotations."""
    return bool(min(image["width"], image["height"]) >= MIN_SIZE)


def is_too_narrow(size: tuple[int, int]) -> bool:
    """Whether the hosts stop at it: resizing leaves nothing of it, or its mask loses an axis."""
    return min(size) == 1 or max(size) >= MOST_NARROW * min(size)


def why_not_learned(annotation: dict[str, Any], image: dict[str, Any]) -> str | None:
    """Why an annotation is left out of a training, None where it is learned from.

    Args:
        annotation: Of a known category, with the types that `fields` checks.
        image: The image it is of.
    """
    left, top, width, height = annotation["bbox"]
    inside_x = max(0, min(left + width, image["width"]) - max(left, 0))
    inside_y = max(0, min(top + height, image["height"]) - max(top, 0))
    reasons = {
        f"in an image with a side under {MIN_SIZE} px": not is_trained_on(image),
        "marked ignore": bool(annotation.get("ignore")),
        "box outside of its image": inside_x * inside_y == 0,
        "area not above 0": annotation["area"] <= 0,
        "box under 1 px": width < 1 or height < 1,
        "crowd region": bool(annotation["iscrowd"]),
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def why_not_evaluated(annotation: dict[str, Any]) -> str | None:
    """Why COCO's evaluation does not expect a detection; `ignore` of a file means nothing to it."""
    return "crowd region" if annotation["iscrowd"] else None
