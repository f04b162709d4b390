"""A part of a module as a graph of torch.compile, which leaves no trace in its state or copies."""

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.autograd import forward_ad

from hiera_dense.errors import SetupError

CompileOptions = bool | Mapping[str, Any]
Result = TypeVar("Result")

_OLDEST = "2.9"

_SETTINGS: dict[str, Any] = dict(
    # The sizes of images need few graphs, but more than PyTorch's 8 where one window covers a side
    # of some images and not of others: these have graphs of their own.
    recompile_limit=64,
    # It would cut the graph into parts, one for each of the messages between data-parallel
    # processes, and refuses graphs that recompute.
    optimize_ddp=False,
)


def is_observed() -> bool:
    """Whether PyTorch traces, transforms or counts what is called: it must see plain calls then."""
    return bool(
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or forward_ad._current_level >= 0
    )


class Graph:
    """Calls functions of a module, compiled or as they are.

    A function is compiled when it is first called, once with gradients and once without. Copies and
    pickles of a `Graph` compile for themselves.

    Args:
        compile: Whether to compile, or the arguments of `torch.compile`; `fullgraph` is True unless
            they have it, or parts of the module are sharded.

    Raises:
        SetupError: It is neither, or this torch is too old to compile.
    """

    def __init__(self, compile: CompileOptions) -> None:
        if not isinstance(compile, bool | Mapping):
            raise SetupError(
                f"compile {compile!r}; expected True, False, or a dict of arguments of "
                "torch.compile, such as dict(mode='reduce-overhead')"
            )
        if compile is not False and torch.__version__ < _OLDEST:  # compares as versions do
            raise SetupError(
                f"compile {compile!r} with torch {torch.__version__}; expected torch {_OLDEST} or "
                "newer, or no compile"
            )
        self._options = compile
        self._compiled: dict[tuple[Callable[..., Any], bool], Callable[..., Any]] = {}

    def __call__(self, function: Callable[..., Result], module: nn.Module, *args: Any) -> Result:
        """Call a function, or its compiled form.

        Args:
            function: Not bound to an object.
            module: Its first argument.
            *args: The others.
        """
        if self._options is False or is_observed():  # inside a larger graph: a part of that
            return function(module, *args)
        key = function, torch.is_grad_enabled()
        if key not in self._compiled:
            options = {} if self._options is True else dict(self._options)
            options = {"fullgraph": not _is_sharded(module)} | options
            self._compiled[key] = torch.compile(_copy(function), **options)
        with torch._dynamo.config.patch(_SETTINGS):
            return cast(Result, self._compiled[key](module, *args))

    def __reduce__(self) -> tuple[type, tuple[CompileOptions]]:
        return Graph, (self._options,)


def _copy(function: Callable[..., Result]) -> Callable[..., Result]:
    """The same function with code of its own, since PyTorch keeps and counts graphs by code."""
    assert isinstance(function, FunctionType)
    parts = function.__globals__, function.__name__, function.__defaults__, function.__closure__
    return FunctionType(function.__code__.replace(), *parts)


def _is_sharded(module: nn.Module) -> bool:
    """Whether FSDP gathers weights where parts of a module are called, which no graph can hold."""
    if not torch.distributed.is_available():
        return False
    from torch.distributed import fsdp

    kinds = fsdp.FullyShardedDataParallel, fsdp.FSDPModule
    return any(isinstance(part, kinds) for part in module.modules())
