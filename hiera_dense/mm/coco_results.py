"""Detections of an evaluation as COCO's result files, which pycocotools and others read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hiera_dense.errors import SetupError

_METRICS = ("CocoMetric", "FasterCocoMetric", "LVISMetric")  # they write such files themselves


def keep_coco_results(evaluators: Sequence[dict[str, Any]], file: Path) -> None:
    """Let an evaluation also write its detections, as `FILE.bbox.json` and `FILE.segm.json`.

    Image and category ids are those of the annotations that the evaluation reads.

    Args:
        evaluators: `test_evaluator` of a config of mmdet; changed in place.
        file: `FILE.json`.

    Raises:
        SetupError: None of them is COCO's metric.
    """
    for evaluator in evaluators:
        if _name(evaluator) in _METRICS:
            evaluator["outfile_prefix"] = str(file.with_suffix(""))
            return
    names = ", ".join(map(_name, evaluators))
    raise SetupError(f"test_evaluator {names}; expected {' or '.join(_METRICS)} for a .json file")


def leave_boxes_out(file: Path) -> None:
    """Take the boxes out of `FILE.segm.json`, if the detector predicted masks.

    Where an entry has both, pycocotools takes the area of the box for that of the mask, and AP of
    small, medium and large masks is wrong. mmdet takes them out when it evaluates.

    Args:
        file: `FILE.json`.
    """
    masks = file.with_suffix(".segm.json")
    if masks.exists():
        entries = json.loads(masks.read_text())
        for entry in entries:
            del entry["bbox"]
        masks.write_text(json.dumps(entries))


def _name(evaluator: dict[str, Any]) -> str:
    kind = evaluator.get("type")
    return str(getattr(kind, "__name__", kind)).rpartition(".")[2]
