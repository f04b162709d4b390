"""The part of a report on a segmenter."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hiera_dense.predict.results import Result
from hiera_dense.report import pictures
from hiera_dense.report.evaluation import LabelImage, Labels, intersection_over_union
from hiera_dense.report.tables import confused, matrix


def draw_labels(found: Labels, folder: Path) -> dict[str, Any]:
    """Draw pictures; what the template shows of a segmenter."""
    classes = found.model.classes
    worst = sorted(found.worst, reverse=True)
    numbers = {image.number for image in worst[: (found.number + 1) // 2]}
    best = [image for image in sorted(found.best, reverse=True) if image.number not in numbers]
    return dict(
        totals=found.totals,
        images=found.number,
        classes=_classes(found),
        matrix=matrix(found.pixels, classes, classes, percent=True),
        confused=confused(found.pixels, classes, classes, len(classes)),
        best=_draw_pairs(found, best, "best", folder),
        worst=_draw_pairs(found, worst[: len(numbers)], "worst", folder),
    )


def _classes(found: Labels) -> list[dict[str, Any]]:
    """Rows of the table of classes, lowest IoU first; those that are nowhere last."""
    pixels = found.pixels
    iou, same = intersection_over_union(pixels), pixels.diagonal()
    truth, predicted = pixels.sum(1), pixels.sum(0)
    rows = [
        dict(
            name=name,
            iou=None if np.isnan(iou[label]) else float(iou[label]),
            recall=float(same[label] / truth[label]) if truth[label] else None,
            precision=float(same[label] / predicted[label]) if predicted[label] else None,
            share=float(truth[label] / max(truth.sum(), 1)),
        )
        for label, name in enumerate(found.model.classes)
    ]
    return sorted(rows, key=lambda row: (row["iou"] is None, row["iou"]))


def _draw_pairs(
    found: Labels, images: list[LabelImage], name: str, folder: Path
) -> list[dict[str, str]]:
    """Truth and prediction of images, side by side."""
    drawn = []
    for number, shown in enumerate(images, start=1):
        image: Image.Image | None = pictures.read(shown.path)
        if image is None:
            continue
        files = {side: f"{name}-{number}-{side}.jpg" for side in ("truth", "found")}
        if all(
            pictures.save(
                Result(
                    (image.height, image.width),
                    found.model.classes,
                    found.model.palette,
                    segmentation=labels,
                ),
                image,
                folder / files[side],
            )
            for side, labels in (("truth", shown.truth), ("found", shown.found))
        ):
            says = f"mean IoU {100 * shown.score:.1f}"
            drawn.append(dict(name=shown.path.name, says=says, **files))
    return drawn
