"""What a training goes on with besides weights, compared with what its config builds."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor

from hiera_dense.errors import CheckpointError
from hiera_dense.weights.stored import is_finite


def compare_training(runner: Any, checkpoint: Mapping[str, Any]) -> None:
    """Look at the optimizer, the schedules and the averaged weights of a checkpoint.

    Args:
        runner: With what its config builds.
        checkpoint: Of the run that goes on.

    Raises:
        CheckpointError: They are of another training, damaged, or not finite.
    """
    wrapper = getattr(runner, "optim_wrapper", None)
    has_shards = hasattr(runner, "strategy")  # then torch compares them itself
    if isinstance(wrapper, OptimWrapper) and not has_shards:
        _compare_optimizer(wrapper, checkpoint.get("optimizer"), checkpoint)
    schedules = getattr(runner, "param_schedulers", None)
    if isinstance(schedules, list) and not has_shards:
        _compare_schedules(schedules, checkpoint.get("param_schedulers"))
    has_hook = any(isinstance(hook, EMAHook) for hook in runner.hooks)
    if "ema_state_dict" in checkpoint and not has_hook:
        print_log(
            "goes on from averaged weights (EMA), since the config has no EMAHook as the run had",
            logger="current",
        )


def _compare_optimizer(wrapper: Any, saved: Any, checkpoint: Mapping[str, Any]) -> None:
    expected = "expected the optim_wrapper of the run"
    groups = saved.get("param_groups") if isinstance(saved, Mapping) else None
    try:
        sizes = [len(group["params"]) for group in groups or ()]
    except (TypeError, KeyError):
        sizes = []
    own = wrapper.optimizer.param_groups
    if sizes != [len(group["params"]) for group in own]:
        total = sum(len(group["params"]) for group in own)
        raise CheckpointError(
            f"its optimizer has {len(sizes)} groups of {sum(sizes)} parameters, that of the config "
            f"{len(own)} of {total}; {expected}"
        )
    assert isinstance(saved, Mapping)
    assert groups is not None
    for name in ("lr", "initial_lr", "weight_decay"):
        for group in groups:
            if not _is_number(group.get(name, 0.0)):
                raise CheckpointError(
                    f"its optimizer has {name}={group[name]!r}; expected a number"
                )
    params = [param for group in own for param in group["params"]]
    states = saved.get("state")
    if not isinstance(states, Mapping) or not all(isinstance(s, Mapping) for s in states.values()):
        raise CheckpointError(f"its optimizer has no state; {expected}")
    if not states and isinstance(wrapper.optimizer, torch.optim.Adam | torch.optim.AdamW):
        raise CheckpointError(f"its optimizer has no moments; {expected}")
    is_torch = type(wrapper.optimizer).__module__.startswith("torch.optim.adam")
    for number, state in states.items():
        shape = params[number].shape if type(number) is int and number < len(params) else None
        for name, value in state.items():
            where = f"its optimizer: {name} of parameter {number}"
            if not isinstance(value, Tensor):
                continue
            if not value.dtype.is_floating_point or value.layout != torch.strided:
                raise CheckpointError(f"{where} is {value.dtype}, {value.layout}; {expected}")
            if is_torch and value.ndim and value.shape != shape:
                raise CheckpointError(f"{where} has the shape {tuple(value.shape)}; {expected}")
            if not is_finite(value.float()):
                raise CheckpointError(f"{where}: NaN or infinity; expected finite values")
        mine = wrapper.optimizer.state.get(params[number]) if shape is not None else None
        if mine and mine.keys() - state.keys():
            raise CheckpointError(f"its optimizer lacks {mine.keys() - state.keys()}; {expected}")


def _compare_schedules(own: list[Any], saved: Any) -> None:
    found = len(saved) if isinstance(saved, list) else 0
    if found != len(own):
        raise CheckpointError(
            f"it has {found} schedules (param_scheduler), the config {len(own)}; expected those of "
            "the run"
        )
    for scheduler, state in zip(own, saved, strict=True):
        known = scheduler.state_dict()
        if not isinstance(state, Mapping) or state.keys() - known.keys() or not state:
            raise CheckpointError(
                f"a schedule of it is not that of the config, {type(scheduler).__name__}; expected "
                "the param_scheduler of the run"
            )


def _is_number(value: Any) -> bool:
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    return isinstance(number, int | float) and math.isfinite(number)
