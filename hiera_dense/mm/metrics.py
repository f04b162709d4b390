"""Metrics that configs name."""

import json
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hiera_dense.registry import METRICS  # isort: split

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from hiera_dense.data.annotations import read_coco


@METRICS.register_module(name="CocoMetric")
def coco_metric(ann_file: str, **kwargs: Any) -> Any:
    """mmdet's `CocoMetric`, or `FasterCocoMetric` where faster-coco-eval is: the same numbers.

    Also right where annotation ids start at 0: pycocotools takes the id 0 for "no match", so a
    detection of that object would count as wrong. Ids are renumbered in memory; the file stays as
    it is.

    Args:
        ann_file: Annotation file in COCO's format.
        **kwargs: mmdet's.

    Raises:
        DataError: The file is not COCO's.
    """
    metric = host_metric()
    content, findings = read_coco(Path(ann_file))
    starts_at_0 = not all(annotation["id"] for annotation in content["annotations"])
    if not starts_at_0 and not findings.changed:
        return metric(ann_file=ann_file, **kwargs)
    if starts_at_0:
        print_log(f"annotation ids of {ann_file} start at 0; evaluated as if at 1", "current")
        for number, annotation in enumerate(content["annotations"], start=1):
            annotation["id"] = number
    with tempfile.TemporaryDirectory() as folder:
        renumbered = Path(folder) / "annotations.json"
        renumbered.write_text(json.dumps(content))
        return metric(ann_file=str(renumbered), **kwargs)


def host_metric() -> Any:
    """mmdet's metric for COCO, the faster one if it can be used."""
    from mmdet.evaluation import metrics  # only an mmdet config names this metric

    faster = getattr(metrics, "FasterCocoMetric", None)  # mmdet 3.3 has none
    return faster if faster and find_spec("faster_coco_eval") else metrics.CocoMetric


@METRICS.register_module()
class Mean(BaseMetric):
    """The mean over all images of what a model measures of each: the `measures` of a prediction."""

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Take the measures of a batch.

        Raises:
            ValueError: A prediction has none.
        """
        if any("measures" not in sample for sample in data_samples):
            raise ValueError("predictions without measures; expected data with their classes")
        self.results += [sample["measures"] for sample in data_samples]

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """Means, by name."""
        return {name: sum(r[name] for r in results) / len(results) for name in results[0]}
