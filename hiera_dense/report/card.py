"""The card of a published model: README.md, with the hub's metadata at its head."""

import json
import math
import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from hiera_dense.errors import SetupError, shown
from hiera_dense.mm.trained import Trained
from hiera_dense.report.history import read_history
from hiera_dense.weights.catalog import NON_COMMERCIAL, PERMISSIVE
from hiera_dense.weights.origin import Origin

_TASKS = {"mmdet": "object-detection", "mmseg": "image-segmentation"}
_IDS = {NON_COMMERCIAL: "cc-by-nc-4.0", PERMISSIVE: "apache-2.0"}  # the hub's names of licences
_MOST_CLASSES = 100  # that are listed
_BEST = re.compile(r"best_(.+)_(?:iter|epoch)_\d+\.pth")
_TEXT = """{front}

# {title}

{kind} of {count} classes, trained with hiera_dense on a Hiera backbone.

```python
from hiera_dense import Predictor

predictor = Predictor({source!r})
result = predictor("photo.jpg")
```

Loading runs no code of this repository: weights are safetensors, and `config.py` is read as plain
values.

**Classes:** {classes}

**Began from:** {began}

**Licence:** {licence}

{metrics}
"""


class Metrics(dict[str, float]):
    """Metrics by name, and `source`, where they are from."""

    source: str = ""


def licence_id(origin: Origin, given: str | None) -> str | None:
    """The licence of a published model, by the hub's name of it.

    Args:
        origin: What the training began from.
        given: What the user wants; None: that of the weights it began from, if that is known.

    Raises:
        SetupError: It began from weights that are not for commercial use, and another is given.
    """
    known = _IDS.get(origin.licence)
    if known == _IDS[NON_COMMERCIAL] and given not in (None, known):
        raise SetupError(
            f"--licence {given}: it began from {origin.began_from}, {origin.licence}; expected "
            f"{known}, or none given"
        )
    return given or known


def metrics_of(run: Path, checkpoint: str) -> Metrics:
    """The metrics of the validation of a checkpoint, else those of the last evaluation.

    Args:
        run: The folder of the run.
        checkpoint: Its file. Of a best one the validation is the one with the highest value.
    """
    metrics = Metrics()
    curves = read_history(run).metrics
    if curves:
        at = max(x for points in curves.values() for x, _ in points)
        if match := _BEST.fullmatch(Path(checkpoint).name):
            name = next((n for n in curves if n.replace("/", "_") == match[1]), None)
            at = max(curves[name], key=lambda point: point[1])[0] if name else at
        metrics.update({n: dict(points)[at] for n, points in curves.items() if at in dict(points)})
        metrics.source = f"the validation at iteration {at:g}"
        return metrics
    for path in sorted(run.glob("*/*/*.json"), key=lambda path: path.stem):
        try:
            content = json.loads(path.read_text("utf-8"))
        except ValueError:
            continue
        if isinstance(content, dict) and not {"loss", "lr"} & set(content):
            found = {k: float(v) for k, v in content.items() if _is_metric(k, v)}
            if found:
                metrics.clear()
                metrics.update(found)
                metrics.source = "the last evaluation"
    return metrics


def make_card(
    trained: Trained,
    origin: Origin,
    metrics: Metrics,
    *,
    title: str,
    source: str,
    licence: str | None,
    dataset: str,
) -> ModelCard:
    """The card.

    Args:
        trained: The model.
        origin: What its training began from.
        metrics: Of its validation data; may be empty.
        title: Its name.
        source: What `Predictor` is to be given.
        licence: By the hub's name; None: it is not told.
        dataset: The name of the data.
    """
    task = _TASKS[trained.scope]
    results = [
        EvalResult(
            task_type=task,
            dataset_type=re.sub(r"\W+", "-", dataset.lower()).strip("-") or "own-data",
            dataset_name=dataset,
            metric_type=name,
            metric_name=name,
            metric_value=value,
        )
        for name, value in metrics.items()
    ]
    data = ModelCardData(
        license=licence or "unknown",
        library_name="hiera_dense",
        pipeline_tag=task,
        tags=["hiera", trained.scope, task],
        model_name=title,
        eval_results=results or None,
    )
    began = origin.began_from or "random weights"
    table = [f"| {shown(name)} | {value:.4g} |" for name, value in metrics.items()]
    told = ["| metric | value |", "|---|---|", *table] if table else ["No metrics were recorded."]
    heading = [f"Metrics on {shown(dataset)}, of {metrics.source}:", ""] if table else []
    more = " ..." if len(trained.classes) > _MOST_CLASSES else ""
    text = _TEXT.format(
        front=f"---\n{data.to_yaml()}\n---",
        title=title,
        kind=str(trained.model["type"]).rpartition(".")[2],
        count=len(trained.classes),
        source=source,
        classes=", ".join(trained.classes[:_MOST_CLASSES]) + more,
        began=f"{began} ({origin.licence})",
        licence=licence or f"not told; {origin.licence}",
        metrics="\n".join([*heading, *told]),
    )
    return ModelCard(text)


def _is_metric(name: str, value: object) -> bool:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return is_number and name not in ("data_time", "time", "step", "iter", "epoch")
