"""Detections of a validation against the truth: COCO's evaluation, and what belongs to what."""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hiera_dense.predict.found import Array

MOST = [100, 300, 1000]  # detections of an image, as mmdet counts them
IOU = 0.5  # from which on a detection has found an object
Kind = Literal["bbox", "segm"]


@dataclass(frozen=True)
class Matches:
    """Of one image: detections, objects, and which belong together at an IoU of 0.5.

    Args:
        image: Its id.
        scores: Of detections, shape (D,).
        labels: Places of their classes, shape (D,).
        matched: For each detection the place of the object that it found, or -1, shape (D,).
        found: Ids of the detections, shape (D,).
        truth_labels: Of objects, shape (G,); crowd regions are no objects.
        truth: Ids of the objects, shape (G,).
        iou: Shape (D, G).
    """

    image: int
    scores: Array
    labels: Array
    matched: Array
    found: Array
    truth_labels: Array
    truth: Array
    iou: Array

    def above(self, score: float) -> "Matches":
        """The same without detections of a lower score.

        Objects are given to detections in the order of scores, so the others keep theirs.
        """
        kept = self.scores >= score
        rows = (self.scores[kept], self.labels[kept], self.matched[kept], self.found[kept])
        return Matches(self.image, *rows, self.truth_labels, self.truth, self.iou[kept])


@dataclass(frozen=True)
class Evaluated:
    """COCO's evaluation of a validation.

    Args:
        kind: Whether boxes or masks were compared.
        classes: Their names.
        precision: Shape (10 IoUs, 101 recalls, classes, 4 sizes, 3 numbers of detections); -1
            where there is no object.
        images: Matches of each image.
        truth: pycocotools' index of the objects.
        found: pycocotools' index of the detections.
    """

    kind: Kind
    classes: tuple[str, ...]
    precision: Array
    images: list[Matches]
    truth: Any
    found: Any

    def ap(self, iou: int | None = None, label: int | None = None, size: int = 0) -> float | None:
        """Average precision, from 0 to 1; None where there is no object.

        Args:
            iou: Place of an IoU, 0 for 0.5 and 5 for 0.75; None: the mean of all.
            label: Place of a class; None: the mean of all.
            size: 0 for all sizes, then small, medium and large.
        """
        # As pycocotools' summary: the mean over IoUs is of 100 detections.
        most = 0 if iou is None and size == 0 else -1
        part = self.precision[..., size, most]
        part = part if iou is None else part[[iou]]
        part = part if label is None else part[:, :, [label]]
        known = part[part > -1]
        return float(known.mean()) if known.size else None


def evaluate(
    truth: Mapping[str, Any], found: Sequence[Mapping[str, Any]], classes: Sequence[str], kind: Kind
) -> Evaluated:
    """Compare detections with the truth, as mmdet's CocoMetric does.

    Args:
        truth: A data set in COCO's format.
        found: Results in COCO's format: of masks without boxes.
        classes: Names of the classes of the model.
        kind: Whether boxes or masks are compared.
    """
    with redirect_stdout(StringIO()):  # pycocotools prints
        expected = _index(_renumbered(truth))
        if found:
            detected = expected.loadRes(deepcopy(list(found)))
        else:  # pycocotools stumbles over none
            detected = _index({**expected.dataset, "annotations": []})
        evaluation = COCOeval(expected, detected, kind)
        evaluation.params.catIds = expected.getCatIds(catNms=list(classes))
        evaluation.params.maxDets = MOST
        evaluation.evaluate()
        evaluation.accumulate()
    names = tuple(c["name"] for c in expected.loadCats(evaluation.params.catIds))
    images = [_matches(evaluation, place) for place in range(len(evaluation.params.imgIds))]
    return Evaluated(kind, names, evaluation.eval["precision"], images, expected, detected)


def regions(index: Any, ids: Sequence[int], kind: Kind) -> list[Any]:
    """Boxes, or run-length encoded masks, of annotations of pycocotools' index."""
    annotations = [index.anns[int(number)] for number in ids]
    if kind == "bbox":
        return [annotation["bbox"] for annotation in annotations]
    return [index.annToRLE(annotation) for annotation in annotations]


def _renumbered(truth: Mapping[str, Any]) -> dict[str, Any]:
    """With ids from 1 on: pycocotools takes the id 0 for no match."""
    annotations = [{**a, "id": i} for i, a in enumerate(truth["annotations"], start=1)]
    return {**truth, "annotations": annotations}


def _index(content: Mapping[str, Any]) -> Any:
    index = COCO()
    index.dataset = content
    index.createIndex()
    return index


def _matches(evaluation: Any, place: int) -> Matches:
    """What pycocotools matched in an image, of all classes."""
    params = evaluation.params
    image, categories = params.imgIds[place], params.catIds
    stride = len(params.areaRng) * len(params.imgIds)
    parts = [evaluation.evalImgs[k * stride + place] for k in range(len(categories))]
    objects: list[int] = []
    labels: list[int] = []
    rows: list[tuple[float, int, int, int]] = []  # score, label, id of its object, own id
    for label, part in enumerate(parts):
        if part is None:
            continue
        kept = [g for g, crowd in zip(part["gtIds"], part["gtIgnore"], strict=True) if not crowd]
        objects += kept
        labels += [label] * len(kept)
        columns = (part["dtScores"], part["dtMatches"][0], part["dtIgnore"][0], part["dtIds"])
        rows += [
            (score, label, int(match), number)
            for score, match, is_ignored, number in zip(*columns, strict=True)
            if not is_ignored
        ]
    rows.sort(key=lambda row: -row[0])
    places = {number: i for i, number in enumerate(objects)}
    found = [number for *_, number in rows]
    iou = np.zeros((len(found), len(objects)))
    if found and objects:
        kind = params.iouType
        detected = regions(evaluation.cocoDt, found, kind)
        iou = np.asarray(
            coco_mask.iou(detected, regions(evaluation.cocoGt, objects, kind), [0] * len(objects))
        )
    return Matches(
        image,
        scores=np.array([score for score, *_ in rows], np.float64),
        labels=np.array([label for _, label, *_ in rows], np.int64),
        matched=np.array([places.get(match, -1) for *_, match, _ in rows], np.int64),
        found=np.array(found, np.int64),
        truth_labels=np.array(labels, np.int64),
        truth=np.array(objects, np.int64),
        iou=iou.reshape(len(found), len(objects)),
    )
