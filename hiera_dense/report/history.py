"""What a training logged: its scalars, over all of its starts."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Points = list[tuple[float, float]]

_NO_METRICS = ("data_time", "time", "step", "iter", "epoch")
_RATES = ("lr", "base_lr")


class History(NamedTuple):
    """Curves by name, each a list of (iteration, value).

    Attributes:
        losses: The sum, `loss`, and its parts.
        rates: Learning rate, `lr`.
        metrics: Of the validations.
        others: What else was logged at training iterations, such as `grad_norm`.
    """

    losses: dict[str, Points]
    rates: dict[str, Points]
    metrics: dict[str, Points]
    others: dict[str, Points]

    @property
    def last(self) -> int:
        """The last iteration that was logged; 0 where none was."""
        curves = [*self.losses.values(), *self.metrics.values()]
        return int(max((x for points in curves for x, _ in points), default=0))


def read_history(run: Path) -> History:
    """Read the scalars of a run.

    A run that was resumed has a folder for each start, named by its time. What a later one logged
    takes the place of what came before from that iteration on.
    """
    train: dict[int, dict[str, Any]] = {}
    validations: dict[int, dict[str, Any]] = {}
    for file in sorted(run.glob("*/vis_data/scalars.json")):
        entries = list(_entries(file))
        epochs = {e["epoch"]: e["iter"] for e in entries if "iter" in e and "epoch" in e}
        own = {int(e["iter"]): e for e in entries if "iter" in e}
        # Metrics of a training by epochs stand at an epoch.
        own_metrics = [e for e in entries if "iter" not in e]
        by_epoch = bool(epochs) and all(e.get("step", 0) <= max(epochs) for e in own_metrics)
        measured = {
            int(epochs.get(e["step"], e["step"]) if by_epoch else e["step"]): e
            for e in own_metrics
            if "step" in e
        }
        first = min((*own, *measured), default=0)
        train = {i: e for i, e in train.items() if i < first} | own
        validations = {i: e for i, e in validations.items() if i < first} | measured
    curves = _curves(train)
    losses = {name: c for name, c in curves.items() if "loss" in name}
    rates = {name: c for name, c in curves.items() if name in _RATES}
    if rates.get("lr") == rates.get("base_lr"):
        rates.pop("base_lr", None)
    others = {name: c for name, c in curves.items() if name not in (*losses, *_RATES)}
    return History(losses, rates, _curves(validations), others)


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file; the last one is cut short where a training was killed."""
    for line in file.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _curves(entries: dict[int, dict[str, Any]]) -> dict[str, Points]:
    found: dict[str, Points] = {}
    for place, entry in sorted(entries.items()):
        for name, value in entry.items():
            is_number = isinstance(value, int | float) and math.isfinite(value)
            if is_number and name not in _NO_METRICS:
                found.setdefault(name, []).append((place, float(value)))
    return found
