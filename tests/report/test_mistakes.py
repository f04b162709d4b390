"""AP, mistakes by kind and the confusion matrix, against other people's code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.coco import LIBRARIES, average_precision
from support.scenes import CLASSES, SIDE, scenes

from hiera_dense.report import mistakes as module
from hiera_dense.report.matches import Evaluated, evaluate
from hiera_dense.report.mistakes import (
    KINDS,
    best_score,
    confusion,
    costs,
    count_mistakes,
    mistakes,
    quality,
)

SEEDS = range(6)


def corners(box: list[float]) -> list[float]:
    left, top, width, height = box
    return [left, top, left + width, top + height]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", SEEDS)
def test_ap_is_that_of_cocos_libraries(seed: int, kind: str, library: str, tmp_path: Path) -> None:
    if library != "pycocotools":
        pytest.importorskip("faster_coco_eval")
    truth, found = scenes(seed, kind=kind, crowd=seed % 2 == 1)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    expected = average_precision(library, path, found, kind)
    ours = evaluate(truth, found, CLASSES, kind)  # type: ignore[arg-type]
    values = [ours.ap(), ours.ap(0), ours.ap(5), *(ours.ap(size=size) for size in (1, 2, 3))]
    assert np.array([-1 if v is None else v for v in values]) == pytest.approx(expected, abs=1e-9)
    assert 0.05 < (ours.ap() or 0) < 0.95


def by_tidecv(truth: dict, found: list[dict]) -> tuple[dict[str, int], dict[str, float]]:
    """Counts of mistakes, and what they cost, in TIDE's own code."""
    tidecv = pytest.importorskip("tidecv")
    expected, detected = tidecv.Data("truth"), tidecv.Data("found")
    for image in truth["images"]:
        for data in (expected, detected):
            data.add_image(image["id"], image["file_name"])
    for number, name in enumerate(CLASSES, start=1):
        expected.add_class(number, name)
    for a in truth["annotations"]:
        expected.add_ground_truth(a["image_id"], a["category_id"], a["bbox"])
    for d in found:
        detected.add_detection(d["image_id"], d["category_id"], d["score"], d["bbox"])
    tide = tidecv.TIDE()
    run = tide.evaluate(expected, detected, mode=tidecv.TIDE.BOX)
    names = dict(zip(("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), KINDS, strict=True))
    counts = {names[kind.short_name]: n for kind, n in run.count_errors().items()}
    (gains,) = tide.get_main_errors().values()
    return counts, {names[name]: value / 100 for name, value in gains.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_mistakes_are_those_of_tide(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # It takes precision at x / 100, and COCO's evaluation at values that differ in the last bit.
    monkeypatch.setattr(module, "_PLACES", np.array([x / 100 for x in range(101)]))
    truth, found = scenes(seed, images=25)
    counts, gains = by_tidecv(truth, found)
    images = evaluate(truth, found, CLASSES, "bbox").images
    assert count_mistakes(images, 0) == counts
    assert costs(images, len(CLASSES)) == pytest.approx(gains, abs=1e-9)
    assert all(counts.values())


@pytest.mark.parametrize("score", [0.0, 0.4])
@pytest.mark.parametrize("seed", SEEDS)
def test_confusion_is_that_of_supervision(seed: int, score: float) -> None:
    supervision = pytest.importorskip("supervision")
    truth, found = scenes(seed, images=25)

    def of(image: int, entries: list[dict], *keys: str) -> np.ndarray:
        rows = [
            [*corners(e["bbox"]), e["category_id"] - 1, *(e[key] for key in keys)]
            for e in entries
            if e["image_id"] == image
        ]
        return np.array(rows, np.float64).reshape(-1, 5 + len(keys))

    ids = [image["id"] for image in truth["images"]]
    expected = supervision.ConfusionMatrix.from_tensors(
        predictions=[of(i, found, "score") for i in ids],
        targets=[of(i, truth["annotations"]) for i in ids],
        classes=list(CLASSES),
        conf_threshold=score,
        iou_threshold=0.5,
    )
    images = evaluate(truth, found, CLASSES, "bbox").images
    ours = confusion(images, len(CLASSES), score)
    # Where two detections of a class compete for two objects, the library pairs by IoU, and COCO's
    # evaluation by score; that may be so in one image of a hundred.
    assert np.abs(ours - expected.matrix).sum() <= 2
    assert ours[:-1].sum() == len(truth["annotations"])
    assert ours[:, :-1].sum() == sum(d["score"] >= score for d in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_ap_that_costs_are_counted_from_is_that_of_the_evaluation(seed: int) -> None:
    evaluated = evaluate(*scenes(seed, crowd=True), CLASSES, "bbox")
    for label in range(len(CLASSES)):
        rows = [
            (score, match >= 0)
            for image in evaluated.images
            for score, match, own in zip(image.scores, image.matched, image.labels, strict=True)
            if own == label
        ]
        scores, correct = np.array(rows).reshape(-1, 2).T
        objects = sum(int((image.truth_labels == label).sum()) for image in evaluated.images)
        ours = module.average_precision(scores, correct.astype(bool), objects)
        assert ours == pytest.approx(evaluated.ap(0, label), abs=1e-12)


def one_image(
    objects: list[tuple[int, list[float]]], found: list[tuple[int, list[float], float]]
) -> Evaluated:
    annotations = [
        dict(id=i, image_id=1, category_id=c, bbox=b, area=b[2] * b[3], iscrowd=0)
        for i, (c, b) in enumerate(objects)  # from 0, which pycocotools takes for no match
    ]
    truth = dict(
        images=[dict(id=1, file_name="1.png", width=SIDE, height=SIDE)],
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, start=1)],
    )
    results = [dict(image_id=1, category_id=c, bbox=b, score=s) for c, b, s in found]
    return evaluate(truth, results, CLASSES, "bbox")


A, B, C, FAR = [0, 0, 40, 40], [60, 0, 40, 40], [120, 0, 40, 40], [60, 120, 40, 40]


def test_one_mistake_of_each_kind() -> None:
    evaluated = one_image(
        [(1, A), (1, B), (2, C), (3, FAR)],
        [
            (1, A, 0.9),
            (1, A, 0.8),  # again
            (2, B, 0.7),  # another class
            (2, [140, 0, 40, 40], 0.6),  # beside it
            (1, [140, 0, 40, 40], 0.5),  # beside it, and another class
            (1, [0, 120, 30, 30], 0.4),  # nothing
        ],
    )
    (image,) = evaluated.images
    seen, missed = mistakes(image)
    kinds = [None, "duplicate", "classification", "localisation", "both", "background"]
    assert [detection.kind for detection in seen] == kinds
    assert [image.truth_labels[place] for place in missed] == [2]
    assert count_mistakes([image], 0.65) == dict(
        dict.fromkeys(KINDS, 0), duplicate=1, classification=1, missed=2
    )
    assert quality(image, 0.85) == pytest.approx(1 / ((1 + 4) / 2))
    assert best_score([image]) == 0.9


@pytest.mark.parametrize("has_objects", [True, False])
def test_nothing_found(has_objects: bool) -> None:
    evaluated = one_image([(1, A)] if has_objects else [], [])
    expected: Any = 0.0 if has_objects else None
    assert evaluated.ap() == evaluated.ap(0, 0) == expected
    assert evaluated.ap(label=1) is None
    counts = count_mistakes(evaluated.images, 0)
    assert counts == dict(dict.fromkeys(KINDS, 0), missed=int(has_objects))
    gains = costs(evaluated.images, len(CLASSES))
    assert set(gains.values()) == {0.0}
    assert best_score(evaluated.images) is None
    assert quality(evaluated.images[0], 0) == expected
    assert confusion(evaluated.images, 3, 0).sum() == int(has_objects)
