"""A part of a module as a graph of torch.compile, which leaves no trace in its state or copies."""

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import torch

CompileOptions = bool | Mapping[str, Any]

# The sizes of images need few graphs, but PyTorch's 8 for a function may be used up by images that
# one window covers along a side, which have graphs of their own.
_GRAPHS = 64


class Graph:
    """Calls functions, compiled or as they are.

    A function is compiled when it is first called, and again for training. Copies and pickles of a
    `Graph` compile anew.

    Args:
        compile: Whether to compile, or the arguments of `torch.compile`; `fullgraph` is True unless
            they have it.
    """

    def __init__(self, compile: CompileOptions) -> None:
        self._options = compile
        self._compiled: dict[tuple[FunctionType, bool], Callable[..., Any]] = {}

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function, or its compiled form.

        Args:
            function: Not bound to an object.
            *args: Its arguments.
        """
        # Inside a larger graph it becomes a part of that.
        if self._options is False or torch.compiler.is_compiling():
            return function(*args)
        assert isinstance(function, FunctionType)
        key = function, torch.is_grad_enabled()
        if key not in self._compiled:
            options = {} if self._options is True else dict(self._options)
            self._compiled[key] = torch.compile(_copy(function), **{"fullgraph": True} | options)
        with torch._dynamo.config.patch(recompile_limit=_GRAPHS):
            return self._compiled[key](*args)

    def __reduce__(self) -> tuple[type, tuple[CompileOptions]]:
        return Graph, (self._options,)


def _copy(function: FunctionType) -> FunctionType:
    """The same function with code of its own, since PyTorch keeps and counts graphs by code."""
    parts = function.__globals__, function.__name__, function.__defaults__, function.__closure__
    return FunctionType(function.__code__.replace(), *parts)
