"""What a detector does wrong: a confusion matrix, mistakes by kind, and how good each image is.

Kinds and what they cost are those of TIDE (Bolya et al., ECCV 2020, "TIDE: A General Toolbox for
Identifying Object Detection Errors").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hiera_dense.predict.found import Array
from hiera_dense.report.matches import IOU, Matches

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
_BACKGROUND = 0.1  # IoU, under which there is rather no object
_PLACES = np.linspace(0, 1, 101)  # of recall, at which COCO takes precision


@dataclass(frozen=True)
class Detection:
    """What is wrong with one detection.

    Args:
        kind: One of `KINDS`, None for one that found its object.
        mends: The place of the object that it would have found without this mistake, or -1.
    """

    kind: str | None
    mends: int = -1


def mistakes(image: Matches) -> tuple[list[Detection], list[int]]:
    """The mistakes of one image.

    Returns:
        One for each detection; and the places of objects that are missed: found by none, and by no
        detection of the wrong class or place either.
    """
    free = np.ones(len(image.truth), bool)
    free[image.matched[image.matched >= 0]] = False
    seen = [_mistake(image, place, free) for place in range(len(image.scores))]
    mended = {d.mends for d in seen}
    return seen, [int(g) for g in np.flatnonzero(free) if g not in mended]


def _mistake(image: Matches, place: int, free: Array) -> Detection:
    if image.matched[place] >= 0:
        return Detection(None)
    if not len(image.truth):
        return Detection("background")
    iou = image.iou[place]
    is_same = image.truth_labels == image.labels[place]
    same, other = np.where(is_same, iou, 0), np.where(is_same, 0, iou)
    for kind, values, least, most in (
        ("localisation", same, _BACKGROUND, IOU),
        ("classification", other, IOU, 2.0),
    ):
        best = int(values.argmax())
        if least <= values[best] <= most:
            return Detection(kind, best if free[best] else -1)
    if same.max() >= IOU:
        return Detection("duplicate")
    return Detection("background" if iou.max() <= _BACKGROUND else "both")


def count_mistakes(images: Sequence[Matches], score: float) -> dict[str, int]:
    """How many mistakes of each kind there are among detections of at least a score."""
    counts = dict.fromkeys(KINDS, 0)
    for image in images:
        seen, missed = mistakes(image.above(score))
        for detection in seen:
            if detection.kind:
                counts[detection.kind] += 1
        counts["missed"] += len(missed)
    return counts


def costs(images: Sequence[Matches], classes: int) -> dict[str, float]:
    """By how much AP at an IoU of 0.5 would be higher without the mistakes of a kind, 0 to 1.

    Without them, a detection of the wrong class or place has found its object, if it is the best
    one of those for an object; all others are not there, and missed objects do not count.
    """
    judged = [(image, *mistakes(image)) for image in images]
    base = _mean_precision(judged, classes, None)
    return {kind: max(0.0, _mean_precision(judged, classes, kind) - base) for kind in KINDS}


_Judged = tuple[Matches, list[Detection], list[int]]


def _mean_precision(judged: Sequence[_Judged], classes: int, without: str | None) -> float:
    """Mean AP over classes with objects, with the mistakes of a kind mended."""
    scores: list[list[float]] = [[] for _ in range(classes)]
    correct: list[list[bool]] = [[] for _ in range(classes)]
    objects = np.zeros(classes, np.int64)
    for image, seen, missed in judged:
        objects += np.bincount(image.truth_labels, minlength=classes)
        if without == "missed":
            objects -= np.bincount(image.truth_labels[missed], minlength=classes)
        best = _best(image, seen)
        for place, detection in enumerate(seen):
            label, is_correct = int(image.labels[place]), detection.kind is None
            if detection.kind is not None and detection.kind == without:
                if detection.mends < 0 or best[detection.mends] != place:
                    continue
                label, is_correct = int(image.truth_labels[detection.mends]), True
            scores[label].append(float(image.scores[place]))
            correct[label].append(is_correct)
    known = [
        average_precision(np.array(s), np.array(c, bool), int(n))
        for s, c, n in zip(scores, correct, objects, strict=True)
        if n
    ]
    return float(np.mean(known)) if known else 0.0


def _best(image: Matches, seen: Sequence[Detection]) -> dict[int, int]:
    """For each object the detection of the highest score that would find it."""
    best: dict[int, int] = {}
    for place in np.argsort(-image.scores, kind="stable"):
        if (mends := seen[place].mends) >= 0:
            best.setdefault(mends, int(place))
    return best


def average_precision(scores: Array, correct: Array, objects: int) -> float:
    """COCO's AP of one class: the mean of the highest precision from each of 101 recalls on.

    Args:
        scores: Of detections, shape (D,).
        correct: Whether each found an object, bool, shape (D,).
        objects: How many there are.
    """
    hits = correct[np.argsort(-scores, kind="stable")].cumsum()
    recall, precision = hits / objects, hits / np.arange(1, len(hits) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, _PLACES, side="left")
    values = np.append(highest, 0.0)[np.minimum(places, len(highest))]
    return float(values.mean())


def confusion(images: Sequence[Matches], classes: int, score: float) -> Array:
    """What was found as what, int64, shape (classes + 1, classes + 1).

    A row is a class of the truth, a column one of the detections; the last of both is background: a
    detection where there is no object, an object that is not found. Pairs of one class go first,
    then those of the highest IoU.

    Args:
        images: The matches.
        classes: How many there are.
        score: The lowest of detections that count.
    """
    table = np.zeros((classes + 1, classes + 1), np.int64)
    for whole in images:
        image = whole.above(score)
        pairs = {d: int(g) for d, g in enumerate(image.matched) if g >= 0}
        order = np.argsort(-image.iou, axis=None, kind="stable")
        taken = set(pairs.values())
        for d, g in zip(*np.unravel_index(order, image.iou.shape), strict=True):
            if image.iou[d, g] < IOU:
                break
            if d not in pairs and g not in taken:
                pairs[int(d)] = int(g)
                taken.add(int(g))
        for d, label in enumerate(image.labels):
            table[image.truth_labels[pairs[d]] if d in pairs else classes, label] += 1
        for g, label in enumerate(image.truth_labels):
            table[label, classes] += g not in taken
    return table


def quality(image: Matches, score: float) -> float | None:
    """How well an image is detected, 0 to 1; None where there is nothing and nothing was found.

    The IoU of objects with what found them, as a share: each object that is not found, and each
    detection that found none, counts as half an object (panoptic quality, Kirillov et al. 2019).
    """
    kept = image.above(score)
    hits = np.flatnonzero(kept.matched >= 0)
    whole = (len(kept.scores) + len(kept.truth)) / 2
    return float(kept.iou[hits, kept.matched[hits]].sum() / whole) if whole else None


def best_score(images: Sequence[Matches]) -> float | None:
    """The score at which the balance of precision and recall (F1) is best, of all classes at once.

    None where nothing was found right.
    """
    scores = np.concatenate([image.scores for image in images]) if images else np.zeros(0)
    correct = np.concatenate([image.matched >= 0 for image in images]) if images else np.zeros(0)
    if not correct.any():
        return None
    order = np.argsort(-scores, kind="stable")
    objects = sum(len(image.truth) for image in images)
    balance = 2 * correct[order].cumsum() / (np.arange(1, len(order) + 1) + objects)
    return float(scores[order][balance.argmax()])
