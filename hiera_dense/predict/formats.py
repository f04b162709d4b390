"""Results as plain values, as annotations of COCO, as lines of YOLO, and for supervision."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hiera_dense.data.rle import Counts, box_of, counts_by_label, counts_of, encode_counts
from hiera_dense.errors import SetupError, some
from hiera_dense.predict.found import Array, Crop, Found

Values = dict[str, Any]  # of JSON

_DIGITS, _SCORE_DIGITS = 3, 6  # of px, and of scores and shares


def to_dict(result: Found) -> Values:
    """A result as values of JSON; see `Result.to_dict`."""
    height, width = result.size
    values: Values = {"image": result.path, "height": height, "width": width}
    if result.class_scores is not None:
        values["classes"] = [
            {"label": label, "name": result.classes[label], "score": round(score, _SCORE_DIGITS)}
            for label, score in result.label_scores.items()
        ]
        return values
    if result.segmentation is None:
        return values | {"objects": [_object(result, i) for i in range(len(result))]}
    masks = counts_by_label(result.segmentation)
    values["classes"] = [
        {
            "label": label,
            "name": result.classes[label],
            "share": round(share, _SCORE_DIGITS),
            "mask": _rle(masks[label], result.size),
        }
        for label, share in result.label_shares.items()
    ]
    return values


def to_coco(
    result: Found,
    image_id: int = 1,
    category_ids: Mapping[str, int] | None = None,
    first_id: int = 1,
) -> list[Values]:
    """A result as annotations of COCO; see `Result.to_coco`."""
    _require_places(result, "COCO")
    if category_ids is None:
        category_ids = {name: i for i, name in enumerate(result.classes, 1)}
    found: list[Values] = []
    if result.segmentation is None:
        for i, name in enumerate(result.names):
            left, top, right, bottom = _numbers(result.boxes[i])
            width, height = round(right - left, _DIGITS), round(bottom - top, _DIGITS)
            box = [left, top, width, height]
            values: Values = {"bbox": box, "area": round(width * height, _DIGITS)}
            if result.crops is not None:
                crop = result.crops[i]
                mask = _rle(_counts(crop, result.size), result.size)
                values |= {"segmentation": mask, "area": float(crop.pixels.sum())}
            score = round(float(result.scores[i]), _SCORE_DIGITS)
            found.append({"name": name, **values, "score": score})
    else:
        for label, counts in counts_by_label(result.segmentation).items():
            if label < len(result.classes) and (edges := box_of(counts, result.size[0])):
                left, top, right, bottom = edges
                found.append(
                    {
                        "name": result.classes[label],
                        "bbox": [left, top, right - left, bottom - top],
                        "segmentation": _rle(counts, result.size),
                        "area": float(counts[1::2].sum()),
                    }
                )
    if missing := {v["name"] for v in found if v["name"] not in category_ids}:
        raise SetupError(f"category_ids without {some(sorted(missing))}; expected all classes")
    return [
        {"id": i, "image_id": image_id, "category_id": category_ids[v.pop("name")], **v}
        | {"iscrowd": 0}
        for i, v in enumerate(found, first_id)
    ]


def to_supervision(result: Found) -> Any:
    """A result as `supervision.Detections`; see `Result.to_supervision`."""
    try:
        import supervision
    except ImportError:
        raise SetupError(
            "supervision is not installed; expected `pip install supervision`"
        ) from None
    _require_places(result, "supervision")
    if result.segmentation is None:
        boxes, scores, labels = result.boxes, result.scores, result.labels
        masks = result.masks
    else:
        found = [label for label in np.unique(result.segmentation) if label < len(result.classes)]
        masks = np.array([result.segmentation == label for label in found]).reshape(
            len(found), *result.size
        )
        counts = counts_by_label(result.segmentation)
        boxes = np.array([box_of(counts[label], result.size[0]) for label in found], np.float32)
        boxes, scores, labels = boxes.reshape(-1, 4), None, np.array(found, np.int64)
    return supervision.Detections(
        xyxy=boxes,
        mask=masks,
        confidence=scores,
        class_id=labels,
        data={"class_name": np.array([result.classes[label] for label in labels], dtype=str)},
    )


def to_yolo(result: Found) -> list[str]:
    """The objects as lines of YOLO's label files, which annotation tools read too.

    `CLASS CX CY W H`, or of a model with masks `CLASS X1 Y1 X2 Y2 ...`, as shares of the image.
    Scores are left out: readers take a sixth number as part of an outline. An outline goes around
    all parts of a mask, with lines of no width between them; holes are filled.
    """
    height, width = result.size
    lines = []
    for i, label in enumerate(result.labels):
        left, top, right, bottom = _numbers(result.boxes[i])
        if result.crops is None:
            numbers = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        else:
            corners = [left, top, right, top, right, bottom, left, bottom]
            numbers = _outline(result.crops[i]) or corners
        shares = np.array(numbers).reshape(-1, 2) / (width, height)
        lines.append(" ".join([str(label), *(f"{s:.6f}" for s in shares.clip(0, 1).ravel())]))
    return lines


def _require_places(result: Found, form: str) -> None:
    if result.class_scores is not None:
        raise SetupError(f"a classifier's result for {form}; expected to_dict: it has no places")


def _object(result: Found, i: int) -> Values:
    label = int(result.labels[i])
    values: Values = {
        "label": label,
        "name": result.classes[label],
        "score": round(float(result.scores[i]), _SCORE_DIGITS),
        "box": _numbers(result.boxes[i]),
    }
    if result.crops is not None:
        values["mask"] = _rle(_counts(result.crops[i], result.size), result.size)
    return values


def _numbers(box: Array) -> list[float]:
    return [round(float(side), _DIGITS) for side in box]


def _counts(crop: Crop, size: tuple[int, int]) -> Counts:
    return counts_of(crop.pixels, (crop.top, crop.left), size)


def _rle(counts: Counts, size: tuple[int, int]) -> Values:
    return {"size": list(size), "counts": encode_counts(counts)}


def _outline(crop: Crop) -> list[float]:
    """One outline around all parts of a mask, x and y by turns, px; empty if it has no area."""
    try:
        import cv2
    except ImportError:
        raise SetupError(
            "outlines need OpenCV; expected `pip install opencv-python-headless`"
        ) from None
    mask = np.ascontiguousarray(crop.pixels, np.uint8)
    if not mask.any():
        return []
    parts, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    whole: Array | None = None
    for part in sorted((part[:, 0] for part in parts), key=len, reverse=True):
        if whole is None:
            whole = part
            continue
        # There and back between the points that are closest.
        apart = np.abs(whole[:, None] - part).sum(-1)
        ours, theirs = np.unravel_index(int(apart.argmin()), apart.shape)
        around = np.roll(part, -int(theirs), axis=0)
        middle = [around, around[:1], whole[ours : ours + 1]]
        whole = np.concatenate([whole[: ours + 1], *middle, whole[ours + 1 :]])
    assert whole is not None
    if len(whole) < 3:  # readers want three points
        whole = np.concatenate([whole, whole[-1:], whole[-1:]])
    # Found again by readers that round (supervision), and that round down (Ultralytics).
    outline: list[float] = (whole + 0.25 + (crop.left, crop.top)).ravel().tolist()
    return outline
