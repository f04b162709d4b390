"""A checkpoint is of the model that is evaluated or goes on, or it is refused."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch import Tensor, nn

from hiera_dense.errors import CheckpointError, some
from hiera_dense.mm.launch import model_of
from hiera_dense.mm.whole_training import compare_training
from hiera_dense.weights.stored import FLOATING, is_dense, is_finite

Kinds = Mapping[str, tuple[torch.Size, torch.dtype]]

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
        self.own = kinds_of(model_of(runner))
        self.in_part = in_part

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Compare names, shapes, kinds and values.

        Raises:
            CheckpointError: They are not those of the model, or not finite.
        """
        state = checkpoint.get("state_dict", checkpoint)
        if problems := compare(self.own, state, self.in_part):
            print_log(f"filled in part; {problems}", logger="current")
        if runner._resume:
            compare_training(runner, checkpoint)


def kinds_of(model: nn.Module) -> Kinds:
    """Shapes and dtypes of the parameters and buffers of a model, by name."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()}


def compare(own: Kinds, state: Any, in_part: bool = False) -> str:
    """Compare a state dict with a model.

    Args:
        own: Of the model.
        state: The state dict.
        in_part: Whether it may be of another model, of which only something fits.

    Returns:
        What does not fit, in words; nothing where all does.

    Raises:
        CheckpointError: It is not that of the model, or holds values that are not finite.
    """
    problems = _problems(own, state)
    fitting = problems.pop("fitting")
    if not fitting:
        problems = problems or {"missing": list(own)}
    if problems and not (in_part and fitting):
        raise CheckpointError(f"not the weights of this model; {_said(problems)}")
    if bad := lost_in(state):
        raise CheckpointError(f"NaN or infinity in {some(bad)}; expected finite weights")
    return _said(problems)


def fill_whole(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Fill a model with a state dict that is its own.

    Raises:
        CheckpointError: It is not that of the model, or holds values that are not finite.
    """
    own = kinds_of(model)
    compare(own, state)
    there = {name.removeprefix(_WRAPPER): value for name, value in state.items()}
    model.load_state_dict({n: v for n, v in there.items() if n in own}, strict=False)


def _problems(own: Kinds, state: Any) -> dict[str, list[str]]:
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
    absent = [name for name in own if name not in there]
    # Files of torch before 0.4.1 do not have it, and nothing depends on it.
    found["missing"] = [n for n in absent if not n.endswith(".num_batches_tracked")]
    for name, value in there.items():
        if name not in own:
            found["unexpected"] += [name] if isinstance(value, Tensor) else []
            continue
        shape, dtype = own[name]
        if kind := _other_kind(value, dtype):
            found["of another kind"].append(f"{name} {kind}, expected {dtype}")
        elif value.shape != shape:
            shapes = f"{name} {tuple(value.shape)}, expected {tuple(shape)}"
            found["of another shape"].append(shapes)
        else:
            found["fitting"].append(name)
    return {what: names for what, names in found.items() if names or what == "fitting"}


def not_finite(content: Any) -> Iterator[str]:
    """Where tensors with values that are not finite, or not dense, stand in nested containers."""
    if isinstance(content, Tensor):
        kind = _other_kind(content, content.dtype)
        if content.is_floating_point() and (kind or not is_finite(content)):
            yield ""
        return
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(content, Mapping):
        items = content.items()
    elif isinstance(content, list | tuple):
        items = enumerate(content)
    for key, value in items:
        yield from (f"{key}.{name}".rstrip(".") for name in not_finite(value))


def lost_in(state: Mapping[str, Any]) -> list[str]:
    """The first few of `not_finite`."""
    return list(islice(not_finite(state), 5))


def _other_kind(value: Any, dtype: torch.dtype) -> str | None:
    """What a value is where it cannot fill a parameter or buffer of a dtype."""
    if not isinstance(value, Tensor):
        return f"is a {type(value).__name__}"
    if not is_dense(value):
        return f"{value.dtype}, not dense"
    is_whole = not value.is_floating_point() and not value.is_complex()
    fits = value.dtype in FLOATING if dtype.is_floating_point else is_whole
    return None if fits else str(value.dtype)


def _said(problems: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{what}: {some(names)}" for what, names in problems.items())
