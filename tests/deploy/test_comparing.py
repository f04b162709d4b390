"""When two runs of one model are equal: ties are no difference, and everything else is one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.results import SIZE, detections, disc

from hiera_dense.deploy.comparing import Comparison
from hiera_dense.predict.found import Crop
from hiera_dense.predict.results import Result

DISCS = [(20, 30, 15), (60, 40, 18), (90, 120, 16), (50, 100, 20), (80, 75, 17)]


def compared(ours: Result, theirs: Result) -> Comparison:
    sums = Comparison("instances")
    sums.add(ours, theirs)
    return sums


def like(result: Result, **values: Any) -> Result:
    return replace(result, **values)


def filling() -> Result:
    """Masks with holes, all as large as the image: one box for all of them; scores nearly alike."""
    result = detections(DISCS)
    crops = tuple(Crop.of(~disc(SIZE, *numbers)) for numbers in DISCS)
    boxes = np.array([[0, 0, SIZE[1], SIZE[0]]] * len(DISCS), np.float32)
    scores = np.linspace(0.5005, 0.5, len(DISCS), dtype=np.float32)
    return like(result, crops=crops, boxes=boxes, scores=scores, labels=np.ones(len(DISCS), int))


def swapped(result: Result, order: list[int]) -> Result:
    """The objects in another order, with their values."""
    assert result.crops is not None
    return like(
        result,
        boxes=result.boxes[order],
        scores=result.scores[order],
        labels=result.labels[order],
        crops=tuple(result.crops[i] for i in order),
    )


def test_objects_with_one_box_are_told_apart_by_their_masks() -> None:
    theirs = filling()
    sums = compared(swapped(theirs, [3, 1, 4, 0, 2]), theirs)
    assert sums.is_equal
    assert (sums.same, sums.all, sums.mask) == (3, 3, 1)  # the upper half of the scores


def test_each_object_has_a_partner_of_its_own() -> None:
    theirs = filling()
    sums = compared(swapped(theirs, [0, 0, 0, 3, 4]), theirs)
    assert (sums.same, sums.extra) == (1, 2)
    assert not sums.is_equal


def moved(result: Result) -> dict[str, Any]:
    return dict(boxes=result.boxes + np.float32(1))


def other_mask(result: Result) -> dict[str, Any]:
    assert result.crops is not None
    return dict(crops=(result.crops[3], *result.crops[1:]))


@pytest.mark.parametrize(
    "change",
    [
        moved,
        other_mask,
        lambda result: dict(labels=(result.labels + 1) % 3),
        lambda result: dict(scores=result.scores - np.float32(0.002)),
    ],
    ids=["boxes", "masks", "labels", "scores"],
)
def test_what_differs_is_found(change: Any) -> None:
    theirs = detections(DISCS)
    assert compared(theirs, theirs).is_equal
    assert not compared(like(theirs, **change(theirs)), theirs).is_equal


def test_small_masks_may_differ_by_few_pixels() -> None:
    theirs = detections([(20, 30, 6), (60, 40, 6), (90, 120, 6)])
    assert theirs.crops is not None
    for pixels, is_equal in ((3, True), (8, False)):
        crop = theirs.crops[0]
        fewer = crop.pixels.copy()
        fewer[tuple(np.argwhere(fewer)[:pixels].T)] = False
        ours = like(theirs, crops=(crop._replace(pixels=fewer), *theirs.crops[1:]))
        assert compared(ours, theirs).is_equal == is_equal


def test_objects_that_only_the_file_finds_count() -> None:
    theirs = detections(DISCS)
    none = like(
        theirs, boxes=theirs.boxes[:0], scores=theirs.scores[:0], labels=theirs.labels[:0], crops=()
    )
    assert compared(none, none).is_equal
    sums = compared(theirs, none)
    assert (sums.all, sums.extra) == (0, 5)
    assert not sums.is_equal
    assert ", and 5 others, on 1 images" in str(sums)
    assert not compared(none, theirs).is_equal
