"""Whether the metric that chooses the best checkpoint is one that the evaluation gives."""

from collections.abc import Iterable
from difflib import get_close_matches
from inspect import signature
from typing import Any

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.runner import Runner

from hiera_dense.errors import SetupError
from hiera_dense.mm.metrics import Mean

_AP = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
_AR = ("AR@100", "AR@300", "AR@1000", "AR_s@1000", "AR_m@1000", "AR_l@1000")


def check_best(runner: Runner, model: Any) -> None:
    """Compare what checkpoints are compared by with what the validation will measure.

    Args:
        runner: Before it trains.
        model: The model, whose `measures` our `Mean` gives.

    Raises:
        SetupError: A metric is asked for that none of them is, or a hook has an argument that
            fails when it saves. Nothing is said where there is a metric whose names are not known.
    """
    _check_arguments(runner)
    known = None if runner.val_loop is None else check_metrics(runner.val_evaluator, model)
    for place, name in _wanted(runner):
        if known is not None and name not in (*known, "auto"):
            raise SetupError(f"{place} {name!r}; expected {', '.join(known)}")


def check_metrics(evaluator: Evaluator, model: Any) -> list[str] | None:
    """What an evaluation gives, by its names; None if that of a metric is not known.

    Args:
        evaluator: The metrics.
        model: The model, whose `measures` our `Mean` gives.

    Raises:
        SetupError: A metric is asked for something that it cannot give.
    """
    known: list[str] = []
    is_known = True
    for metric in evaluator.metrics:
        names = _names(metric, model)
        is_known &= names is not None
        known += [f"{metric.prefix}/{name}" if metric.prefix else name for name in names or ()]
    return known if is_known else None


def _check_arguments(runner: Runner) -> None:
    """Look for what a checkpoint hook passes on to its runner, which does not take it."""
    taken = set(signature(runner.save_checkpoint).parameters)
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and (unknown := sorted(set(hook.args) - taken)):
            known = list(signature(CheckpointHook).parameters)
            near = get_close_matches(unknown[0], known) or known
            raise SetupError(
                f"default_hooks.checkpoint does not take {unknown[0]!r}; expected {', '.join(near)}"
            )


def _wanted(runner: Runner) -> Iterable[tuple[str, str]]:
    """The metrics that hooks read, by their place."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            for name in hook.save_best or ():
                yield "default_hooks.checkpoint.save_best", name
        elif isinstance(hook, EarlyStoppingHook):
            yield "EarlyStoppingHook.monitor", hook.monitor


def _names(metric: BaseMetric, model: Any) -> list[str] | None:
    """What a metric gives, without its prefix; None if it is not known."""
    if isinstance(metric, Mean):
        return list(getattr(model, "measures", ())) or None
    kind = f"{type(metric).__module__.split('.')[0]}.{type(metric).__name__}"
    names_of = {
        "mmdet.CocoMetric": _names_of_coco,
        "mmdet.FasterCocoMetric": _names_of_coco,
        "mmseg.IoUMetric": _names_of_iou,
    }.get(kind)
    return None if names_of is None or metric.format_only else names_of(metric)


def _names_of_coco(metric: Any) -> list[str]:
    items = metric.metric_items
    if unknown := sorted(set(items or ()) - {*_AP, *_AR}):
        raise SetupError(f"metric_items {unknown}; expected some of {', '.join((*_AP, *_AR))}")
    names: list[str] = []
    for kind in metric.metrics:
        if kind == "proposal_fast":
            names += [f"AR@{number}" for number in metric.proposal_nums]
        elif kind == "proposal":
            names += items or _AR
        else:
            names += [f"{kind}_{item}" for item in items or _AP]
    if metric.classwise:
        names += [f"{name}_precision" for name in (metric.dataset_meta or {}).get("classes", ())]
    return names


def _names_of_iou(metric: Any) -> list[str]:
    """As mmseg's own function names what it makes of two classes."""
    areas = [torch.ones(2)] * 4
    try:
        found = metric.total_area_to_metrics(*areas, metric.metrics)
    except KeyError as error:
        raise SetupError(
            f"iou_metrics {metric.metrics}; expected some of mIoU, mDice, mFscore"
        ) from error
    return [name if name == "aAcc" else f"m{name}" for name in found]
