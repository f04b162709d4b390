"""Building a network that a stranger describes: not one that is far larger than its weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from hiera_dense.errors import SetupError

_MOST_MODULES = 50_000  # of a network; the largest ones have some thousand
_SPARE = 10_000_000  # values of a network that its checkpoint may lack


@contextmanager
def no_larger_than(state: Mapping[str, Any]) -> Iterator[None]:
    """Build a network that the values of a state dict fill; other threads are not concerned.

    A config may ask for more than a machine has. Parameters are counted as modules get them, before
    they are filled.

    Raises:
        SetupError: It has far more values, or more modules than any network.
    """
    most = _SPARE + 2 * sum(v.numel() for v in state.values() if isinstance(v, Tensor))
    left = {"values": most, "modules": _MOST_MODULES}
    thread = get_ident()

    def count(owner: nn.Module, name: str, part: Any) -> None:
        if get_ident() != thread or part is None:
            return
        if isinstance(part, nn.Module):
            left["modules"] -= 1
        elif not isinstance(part, UninitializedBuffer | UninitializedParameter):
            left["values"] -= part.numel()
        if min(left.values()) < 0:
            raise SetupError(
                "the config in the checkpoint describes a network that is far larger than its "
                "weights; expected that of its weights"
            )

    hooks = [
        modules.register_module_parameter_registration_hook(count),
        modules.register_module_buffer_registration_hook(count),
        modules.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
