"""The part of a report on a detector."""

from pathlib import Path
from typing import Any

from hiera_dense.predict.predictor import SCORE
from hiera_dense.report import pictures, plots
from hiera_dense.report.evaluation import SHOWN, Objects
from hiera_dense.report.matches import Evaluated, Matches
from hiera_dense.report.mistakes import best_score, confusion, costs, count_mistakes, quality
from hiera_dense.report.tables import confused, matrix

_MOST_CURVES = 23  # classes with curves of their own, those of the lowest AP
_SMALL, _MEDIUM = 32**2, 96**2  # px, COCO's limits of sizes
_PARTS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")


def draw_objects(found: Objects, folder: Path) -> dict[str, Any]:
    """Draw plots and pictures; what the template shows of a detector."""
    evaluated, classes = found.evaluated, found.evaluated.classes
    images = evaluated.images
    table = confusion(images, len(classes), SCORE)
    rows, columns = [*classes, "nothing there"], [*classes, "not found"]
    counts, gains = count_mistakes(images, SCORE), costs(images, len(classes))
    best, worst = _best_and_worst(images)
    number = sum(len(image.truth) for image in images)
    return dict(
        kind="mask" if evaluated.kind == "segm" else "box",
        score=SCORE,
        totals=_totals(found),
        ap=evaluated.ap(),
        ap50=evaluated.ap(0),
        images=len(images),
        objects=number,
        is_empty=not any(len(image.scores) for image in images),
        best_score=best_score(images),
        classes=_classes(evaluated),
        curves=_draw_curves(evaluated, folder),
        sizes=_sizes(evaluated),
        matrix=matrix(table, rows, columns, percent=False),
        confused=confused(table, rows, columns, len(classes)),
        mistakes={kind: dict(count=counts[kind], gain=gains[kind]) for kind in counts},
        best=_draw_pairs(found, best, "best", folder),
        worst=_draw_pairs(found, worst, "worst", folder),
    )


def _totals(found: Objects) -> list[dict[str, Any]]:
    """Rows of the table of metrics, from those of the evaluation; of boxes and of masks."""
    rows = []
    for kind, name in (("bbox", "boxes"), ("segm", "masks")):
        values = [found.totals.get(f"coco/{kind}_{part}") for part in _PARTS]
        if values[0] is not None:
            known = [None if value is None or value < 0 else value for value in values]
            rows.append(dict(name=name, values=known))
    return rows


def _classes(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Rows of the table of classes, lowest AP first; those without objects last."""
    counts = [
        sum(int((image.truth_labels == label).sum()) for image in evaluated.images)
        for label in range(len(evaluated.classes))
    ]
    rows = [
        dict(
            name=name,
            objects=counts[label],
            ap=evaluated.ap(label=label),
            ap50=evaluated.ap(0, label),
            ap75=evaluated.ap(5, label),
        )
        for label, name in enumerate(evaluated.classes)
    ]
    return sorted(rows, key=lambda row: (row["ap"] is None, row["ap"]))


def _draw_curves(evaluated: Evaluated, folder: Path) -> list[dict[str, Any]]:
    """Precision over recall: of all classes, then of those of the lowest AP."""
    precision = evaluated.precision[:, :, :, 0, -1]
    has_objects = [label for label in range(precision.shape[2]) if precision[0, 0, label] > -1]
    if not has_objects:
        return []
    order = sorted(has_objects, key=lambda label: evaluated.ap(label=label) or 0)
    parts = [("all classes", has_objects)]
    if len(has_objects) > 1:
        parts += [(evaluated.classes[label], [label]) for label in order[:_MOST_CURVES]]
    found = []
    for number, (name, labels) in enumerate(parts):
        part = precision[:, :, labels].mean(2)
        curves = {"0.5": part[0], "0.75": part[5], "mean": part.mean(0)}
        plots.precision_recall(folder / f"precision-{number}.svg", curves)
        found.append(dict(name=name, path=f"precision-{number}.svg"))
    return found


def _sizes(evaluated: Evaluated) -> list[dict[str, Any]]:
    areas = [
        evaluated.truth.anns[int(number)]["area"]
        for image in evaluated.images
        for number in image.truth
    ]
    limits = ((0, _SMALL), (_SMALL, _MEDIUM), (_MEDIUM, float("inf")))
    names = ("small", "medium", "large")
    says = ("below 32 x 32 px", "32 x 32 to 96 x 96 px", "from 96 x 96 px on")
    return [
        dict(
            name=names[i],
            says=says[i],
            objects=sum(low <= area < high for area in areas),
            ap=evaluated.ap(size=i + 1),
        )
        for i, (low, high) in enumerate(limits)
    ]


_Rated = tuple[float, Matches]


def _best_and_worst(images: list[Matches]) -> tuple[list[_Rated], list[_Rated]]:
    """A few images each, none of them twice."""
    rated = [(q, image) for image in images if (q := quality(image, SCORE)) is not None]
    rated.sort(key=lambda pair: pair[0])
    few = min(SHOWN, (len(rated) + 1) // 2)
    rest = rated[few:]
    return rest[: -SHOWN - 1 : -1], rated[:few]


def _draw_pairs(
    found: Objects, images: list[_Rated], name: str, folder: Path
) -> list[dict[str, str]]:
    """Truth and prediction of images, side by side."""
    evaluated, model = found.evaluated, found.model
    ids = {evaluated.truth.cats[i]["name"]: i for i in evaluated.truth.cats}
    labels = {ids[c]: label for label, c in enumerate(model.classes) if c in ids}
    drawn = []
    for number, (rating, matched) in enumerate(images, start=1):
        path = found.files.get(matched.image)
        image = pictures.read(path) if path else None
        if path is None or image is None:
            continue
        size = (image.height, image.width)
        kept = matched.above(SCORE)
        own = [evaluated.found.anns[int(i)] for i in kept.found]
        truth = evaluated.truth.imgToAnns[matched.image]
        files = {side: f"{name}-{number}-{side}.jpg" for side in ("truth", "found")}
        if all(
            pictures.save(
                pictures.objects(annotations, labels, size, model.classes, model.palette),
                image,
                folder / files[side],
                scores=side == "found",
            )
            for side, annotations in (("truth", truth), ("found", own))
        ):
            drawn.append(dict(name=path.name, says=_says(rating, kept), **files))
    return drawn


def _says(rating: float, image: Matches) -> str:
    hits = int((image.matched >= 0).sum())
    wrong = len(image.scores) - hits
    false = f"{wrong} false detection{'' if wrong == 1 else 's'}"
    return f"{100 * rating:.0f} of 100; {hits} of {len(image.truth)} objects found, {false}"
