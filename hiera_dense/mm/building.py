"""Errors that mmengine and the hosts raise while they build what a config names, as one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from textwrap import shorten
from traceback import extract_tb, walk_tb
from types import FrameType
from typing import Any

from mmengine.registry import Registry

from hiera_dense.errors import InputError, SetupError

_KINDS = (TypeError, ValueError, LookupError, AssertionError, ArithmeticError, RuntimeError)
_OPS = "mmcv._ext"  # the module that mmcv compiles
_UNEXPECTED = re.compile(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r"missing \d+ required [a-z-]+ arguments?: (.*)")
_WRAPPED = re.compile(r"class `\w+` in \S+: ")  # how older mmengines begin a message


@contextmanager
def building() -> Iterator[None]:
    """Turn errors of building into a SetupError; those of anything else stay as they are.

    Raises:
        SetupError: What a config names cannot be built.
    """
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        if error.name != _OPS:
            raise
        raise SetupError(
            f"mmcv's ops cannot be loaded ({message_of(error)}), as if it had been built without "
            "torch, or for another one; expected requirements/install.sh or docs/install.md, which "
            "build it for the torch that is installed, or put torchvision's ops in their place"
        ) from error
    except _KINDS as error:
        frames = [frame for frame, _ in walk_tb(error.__traceback__)]
        if not any(map(_builds, frames)):
            raise
        raise SetupError(_one_line(error, frames)) from error


def message_of(error: BaseException) -> str:
    """The message of an error in one line, without quotes and places that Python adds."""
    text = str(error)
    if isinstance(error, KeyError | SyntaxError) and error.args:
        text = str(error.args[0])
    return shorten(_WRAPPED.sub("", text).rstrip("."), 250, placeholder=" ...")


def _builds(frame: FrameType) -> bool:
    """Whether a function of mmengine makes objects from a config."""
    module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
    return module.startswith("mmengine.") and function.startswith(("build", "from_cfg"))


def _one_line(error: BaseException, frames: list[FrameType]) -> str:
    text = message_of(error)
    built = [f.f_locals for f in frames if f.f_code.co_name == "build_from_cfg"]
    cfg = built[-1]["cfg"] if built else {}
    if not hasattr(cfg, "get") or "must contain the key" in text:
        return f"{shorten(repr(cfg), 100)} has no type; expected dict(type=..., ...)"
    kind = cfg.get("type", "the config")
    name = str(getattr(kind, "__name__", kind))
    if built and isinstance(error, KeyError) and " is not in the " in text:
        return unknown_type(name, built[-1]["registry"])
    if match := _UNEXPECTED.search(text):
        owner, key = match.groups()
        return f"{owner} does not take {key!r}; expected {_parameters(owner, key, frames[-1])}"
    if match := _MISSING.search(text):
        return f"{name} has no {match[1]}; expected a value"
    place = extract_tb(error.__traceback__)[-1]
    text = text or place.line or ""
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return f"{name}: {type(error).__name__}: {text} ({where}); expected settings that it can use"


def unknown_type(name: str, registry: Registry) -> str:
    """What to say of a type that a registry has not.

    Args:
        name: The type.
        registry: The registry of the scope in which it was looked for.
    """
    root = registry
    while root.parent is not None:
        root = root.parent
    if ours := root.children.get("hiera_dense"):
        ours.import_from_location()
    plain = {**root.module_dict, **registry.module_dict}
    scoped = {
        child_name: f"{scope}.{child_name}"
        for scope, child in root.children.items()
        for child_name in child.module_dict
    }
    bare = name.split(".")[-1]
    near = get_close_matches(bare, plain, cutoff=0.7)
    near = near or [scoped[n] for n in get_close_matches(bare, scoped, cutoff=0.7)]
    near = near or (list(plain) if len(plain) < 20 else ["one that is registered"])
    return f"type {name!r} is not in the registry of {registry.name}s; expected {', '.join(near)}"


def _parameters(owner: str, key: str, caller: FrameType) -> str:
    """The arguments of the class or function that did not take one; those near to it, if any."""
    known = [*caller.f_globals.values(), *caller.f_locals.values()]
    known += type(caller.f_locals.get("self")).__mro__
    callee = next((v for v in known if getattr(v, "__name__", None) == owner and callable(v)), None)
    if callee is None:
        return "no such argument"
    classes = callee.__mro__[:-1] if isinstance(callee, type) else (callee,)
    names = list(dict.fromkeys(name for one in classes for name in _named(one)))
    return ", ".join(get_close_matches(key, names, cutoff=0.7) or names)


def _named(callee: Any) -> list[str]:
    """The arguments that a class or function takes by their names."""
    try:
        parameters = signature(callee).parameters.values()
    except ValueError:  # of C
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
