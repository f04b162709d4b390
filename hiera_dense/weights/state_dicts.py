"""Which state dicts a checkpoint holds, and which of them is meant."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from hiera_dense.errors import CheckpointError, shown, some
from hiera_dense.weights.shapes import State

# facebookresearch/hiera, mmengine and timm, facebookresearch/sam2.
_USUAL = ("model_state", "state_dict", "model")


class Chosen(NamedTuple):
    """One state dict of a checkpoint.

    Attributes:
        key: Where it stands, with dots between keys; empty: the checkpoint itself.
        state: Tensors by name.
        others: Keys of further state dicts, such as averaged weights (EMA).
    """

    key: str
    state: State
    others: tuple[str, ...]


def choose(checkpoint: Mapping[str, Any], key: str | None = None) -> Chosen:
    """Find the state dict that is meant.

    Args:
        checkpoint: What a file holds.
        key: Where it stands: `state_dict_ema`, or `ema.module` where keys are nested. None: the
            usual one (`model_state`, `state_dict`, `model`, or tensors at the top), or the only
            one.

    Raises:
        CheckpointError: There is none, none of that key, or several of which none is usual.
    """
    found = dict(_state_dicts(checkpoint))
    if not found:
        held = some([str(name) for name in checkpoint]) or "nothing"
        raise CheckpointError(f"no weights in it, but {held}; expected tensors by their names")
    if key is not None:
        meant = [name for name in found if name == key or name.startswith(f"{key}.")]
    else:
        meant = _usual(list(found))
    if len(meant) != 1:
        given = f"no weights under the key {shown(key)!r}" if key else "several state dicts in it"
        where = some([name for name in found if name]) or "none"
        raise CheckpointError(f"{given}; expected key= (--key) with one of {where}")
    chosen = meant[0]
    others = tuple(name for name in found if name and name != chosen)
    return Chosen(chosen, found[chosen], others)


def _usual(names: list[str]) -> list[str]:
    """Those that may be meant where none is named."""
    for key in _USUAL:
        if there := [name for name in names if name.split(".")[0] == key]:
            inner = [f"{key}.{usual}" for usual in _USUAL if f"{key}.{usual}" in there]
            return inner[:1] or there
    return [""] if "" in names else names


def _state_dicts(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, State]]:
    """State dicts at the top, under a key, or under a key of a key; with where they stand."""
    inner = {
        f"{outer}.{name}" if name else str(outer): state
        for outer, value in checkpoint.items()
        if isinstance(value, Mapping)
        for name, state in _nested(value)
    }
    own = _tensors(checkpoint)
    # Beside state dicts, single tensors are something else, such as a state of random numbers.
    if own and len(own) >= max(map(len, inner.values()), default=0):
        yield "", own
    yield from inner.items()


def _nested(value: Mapping[Any, Any]) -> Iterator[tuple[str, State]]:
    if state := _tensors(value):
        yield "", state
        return
    for name, inner in value.items():
        if isinstance(name, str) and isinstance(inner, Mapping) and (state := _tensors(inner)):
            yield name, state


def _tensors(value: Mapping[Any, Any]) -> State:
    return {
        name: item
        for name, item in value.items()
        if isinstance(name, str) and isinstance(item, Tensor)
    }
