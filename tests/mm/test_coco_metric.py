"""Our COCO metric with faster-coco-eval beside mmdet's with pycocotools."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from pycocotools import mask as rle

from hiera_dense.mm import metrics

CLASSES = ("a", "b", "c")
HEIGHT, WIDTH = 120, 160


def encoded(x: float, y: float, w: float, h: float, crooked: float) -> dict[str, Any]:
    polygon = [x, y, x + w, y + crooked * h, x + w, y + h, x, y + h]
    return rle.merge(rle.frPyObjects([polygon], HEIGHT, WIDTH))


def draw(images: int, first_id: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations, some of crowds, and what was found, near them or elsewhere; equal scores."""
    rng = np.random.default_rng(3)
    listed, annotations, samples = [], [], []
    for number in range(images):
        listed.append(dict(id=number, width=WIDTH, height=HEIGHT, file_name=f"{number}.jpg"))
        truth = [
            (*rng.uniform(0, 60, 2), *rng.uniform(5, 60, 2), int(rng.integers(3)))
            for _ in range(rng.integers(4))
        ]
        for *box, label in truth:
            mask = encoded(*box, crooked=0.2)
            annotations.append(
                dict(
                    id=first_id + len(annotations),
                    image_id=number,
                    category_id=label + 1,
                    iscrowd=int(rng.random() < 0.1),
                    bbox=box,
                    area=float(rle.area(mask)),
                    segmentation=dict(size=mask["size"], counts=mask["counts"].decode()),
                )
            )
        found: dict[str, list[Any]] = dict(bboxes=[], labels=[], scores=[], masks=[])
        for _ in range(rng.integers(12)):
            x, y, w, h, label = (
                truth[rng.integers(len(truth))]
                if truth and rng.random() < 0.7
                else (*rng.uniform(0, 60, 2), *rng.uniform(5, 60, 2), int(rng.integers(3)))
            )
            x, y, w, h = (abs(v + rng.normal(0, 3)) + 1 for v in (x, y, w, h))
            found["bboxes"].append([x, y, x + w, y + h])
            found["labels"].append(label if rng.random() < 0.8 else int(rng.integers(3)))
            found["scores"].append(round(rng.random(), 1))
            found["masks"].append(encoded(x, y, w, h, crooked=0.0))
        tensors = {key: torch.tensor(value) for key, value in found.items() if key != "masks"}
        tensors["bboxes"] = tensors["bboxes"].reshape(-1, 4)
        samples.append(
            dict(
                img_id=number,
                ori_shape=(HEIGHT, WIDTH),
                pred_instances=dict(tensors, masks=found["masks"]),
            )
        )
    categories = [dict(id=number + 1, name=name) for number, name in enumerate(CLASSES)]
    return dict(images=listed, annotations=annotations, categories=categories), samples


def measured(metric: Any, samples: list[dict[str, Any]]) -> dict[str, float]:
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples)
    return metric.evaluate(len(samples))


@pytest.mark.parametrize("first_id", [1, 0])
def test_numbers_are_mmdets(first_id: int, tmp_path: Path) -> None:
    metrics_of_mmdet = pytest.importorskip("mmdet.evaluation.metrics")
    pytest.importorskip("faster_coco_eval")
    if not hasattr(metrics_of_mmdet, "FasterCocoMetric"):
        pytest.skip("this mmdet has no FasterCocoMetric")
    content, samples = draw(60, first_id)
    file, reference = tmp_path / "annotations.json", tmp_path / "reference.json"
    file.write_text(json.dumps(content))
    for annotation in content["annotations"]:
        annotation["id"] += 1  # pycocotools needs ids from 1 on
    reference.write_text(json.dumps(content))
    settings = dict(metric=["bbox", "segm"], classwise=True)
    ours = metrics.coco_metric(ann_file=str(file), **settings)
    assert type(ours).__name__ == "FasterCocoMetric"
    expected = measured(CocoMetric(ann_file=str(reference), **settings), samples)
    assert 0.05 < expected["coco/segm_mAP"] < 0.9
    assert measured(ours, samples) == expected


def test_without_faster_coco_eval_it_is_mmdets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(draw(2, 1)[0]))
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    assert type(metrics.coco_metric(ann_file=str(file), metric="bbox")) is CocoMetric
