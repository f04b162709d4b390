"""A checkpoint is of the model that is evaluated or goes on, or it is refused."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor

from hiera_dense.errors import CheckpointError
from hiera_dense.mm.launch import model_of
from hiera_dense.weights.stored import is_finite, some

_WRAPPER = "module."


class WholeModel(Hook):
    """Looks at a checkpoint after it is read and before anything is filled.

    mmengine fills what fits and warns about the rest, so that a checkpoint of another model gives
    random predictions.

    Args:
        runner: Whose model is filled.
        in_part: Whether the checkpoint may be of another model (`load_from` of a training): then
            it is told what was filled, and refused only if nothing fits.
    """

    priority = "HIGHEST"

    def __init__(self, runner: Any, in_part: bool = False) -> None:
        state = model_of(runner).state_dict()
        self.own = {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}
        self.in_part = in_part

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Compare names, shapes, kinds and values.

        Raises:
            CheckpointError: They are not those of the model, or not finite.
        """
        state = checkpoint.get("state_dict", checkpoint)
        problems = self._problems(state)
        if not problems.pop("fitting"):
            problems = problems or {"missing": list(self.own)}
            raise CheckpointError(f"not the weights of this model; {_said(problems)}")
        if problems and not self.in_part:
            raise CheckpointError(f"not the weights of this model; {_said(problems)}")
        if problems:
            print_log(f"filled in part; {_said(problems)}", logger="current")
        parts = {"": state, "optimizer: ": checkpoint.get("optimizer")}
        parts["ema_state_dict: "] = checkpoint.get("ema_state_dict")
        bad = [f"{part}{name}" for part in parts for name in not_finite(parts[part])]
        if bad:
            raise CheckpointError(f"NaN or infinity in {some(bad)}; expected finite weights")
        if not self.in_part and "optimizer" in checkpoint:
            self._compare_training(runner, checkpoint)

    def _problems(self, state: Any) -> dict[str, list[str]]:
        if not isinstance(state, Mapping):
            raise CheckpointError(f"its state_dict is a {type(state).__name__}; expected tensors")
        found: dict[str, list[str]] = {
            "fitting": [],
            "missing": [],
            "unexpected": [],
            "of another shape": [],
            "of another kind": [],
        }
        there = {str(name).removeprefix(_WRAPPER): value for name, value in state.items()}
        found["missing"] = [name for name in self.own if name not in there]
        for name, value in there.items():
            if not isinstance(value, Tensor) or name not in self.own:
                found["unexpected"] += [name] if isinstance(value, Tensor) else []
                continue
            shape, dtype = self.own[name]
            floating = value.is_floating_point() and value.element_size() > 1
            if value.is_nested or value.is_sparse or floating != dtype.is_floating_point:
                found["of another kind"].append(f"{name} {value.dtype}, expected {dtype}")
            elif value.shape != shape:
                shapes = f"{name} {tuple(value.shape)}, expected {tuple(shape)}"
                found["of another shape"].append(shapes)
            else:
                found["fitting"].append(name)
        return {what: names for what, names in found.items() if names or what == "fitting"}

    @staticmethod
    def _compare_training(runner: Any, checkpoint: Mapping[str, Any]) -> None:
        """Optimizer and schedules go on only in a training of the same kind."""
        wrapper = getattr(runner, "optim_wrapper", None)
        theirs = checkpoint["optimizer"].get("param_groups", [])
        if isinstance(wrapper, OptimWrapper) and theirs:
            sizes = [len(group["params"]) for group in theirs]
            own = [len(group["params"]) for group in wrapper.optimizer.param_groups]
            if sizes != own:
                raise CheckpointError(
                    f"its optimizer has {len(sizes)} groups of {sum(sizes)} parameters, that of "
                    f"the config {len(own)} of {sum(own)}; expected the optim_wrapper of the run"
                )
        schedules = getattr(runner, "param_schedulers", None)
        saved = checkpoint.get("param_schedulers")
        if isinstance(schedules, list) and isinstance(saved, list) and len(saved) != len(schedules):
            raise CheckpointError(
                f"it has {len(saved)} schedules (param_scheduler), the config {len(schedules)}; "
                "expected those of the run"
            )


def not_finite(content: Any) -> Iterator[str]:
    """Where tensors with NaN or infinite values stand in nested containers."""
    if isinstance(content, Tensor):
        if content.is_floating_point() and not is_finite(content):
            yield ""
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from (f"{key}.{name}".rstrip(".") for name in not_finite(value))
    elif isinstance(content, list):
        for key, value in enumerate(content):
            yield from (f"{key}.{name}".rstrip(".") for name in not_finite(value))


def _said(problems: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{what}: {some(names)}" for what, names in problems.items())
