"""AP by other people's code."""

import importlib
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = {
    "pycocotools": ("pycocotools.coco:COCO", "pycocotools.cocoeval:COCOeval"),
    "faster-coco-eval": ("faster_coco_eval:COCO", "faster_coco_eval:COCOeval_faster"),
}


def average_precision(library: str, truth: Path, found: Path | list[dict], kind: str) -> Any:
    """AP, AP50, AP75, and AP of small, medium and large objects, as a user gets them."""
    places = [name.split(":") for name in LIBRARIES[library]]
    coco, evaluator = (getattr(importlib.import_module(module), name) for module, name in places)
    annotations = coco(str(truth))
    # Libraries write into a list that they are given.
    results = annotations.loadRes(deepcopy(found) if isinstance(found, list) else str(found))
    evaluation = evaluator(annotations, results, kind)
    evaluation.params.maxDets = [100, 300, 1000]  # as mmdet
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return np.array(evaluation.stats[:6])
