"""What mmengine keeps of a run beside its checkpoints: the config, read as data."""

import ast
from collections.abc import Container
from pathlib import Path
from typing import Any, NamedTuple

from hiera_dense.data.choices import Choices, as_choices
from hiera_dense.errors import SetupError
from hiera_dense.mm.start_weights import weights_in

_NAME = "own_data"
_LARGEST = 1_000_000  # bytes; a record has some thousand
_CONSTANTS = {"inf": float("inf"), "nan": float("nan")}  # as they are written out


class OwnData(NamedTuple):
    """The folder of data that a run was trained on, and its classes."""

    root: str
    classes: tuple[str, ...]


def own_data_of(record: Path) -> OwnData | None:
    """The data that a run was trained on, from the config that lies beside its checkpoints.

    The file is not run: it may come from a stranger, along with a checkpoint.

    Args:
        record: The file; mmengine writes every setting out as a plain value.

    Returns:
        None where it names no folder of data.

    Raises:
        SetupError: It names one by code, or is no text.
    """
    problem = f"{record} lies beside the checkpoint and is not run; expected own_data in it as "
    try:
        if record.stat().st_size > _LARGEST:
            raise ValueError(f"it has {record.stat().st_size} bytes")
        values = settings_of(record.read_text("utf-8"), {_NAME})
    except (ValueError, OSError) as error:
        raise SetupError(f"{problem}plain values, as in the record of a run ({error})") from None
    match values.get(_NAME):
        case None:
            return None
        case {"root": str(root), "classes": tuple() | list() as classes} if all(
            isinstance(name, str) for name in classes
        ):
            if "\0" not in root and root.isprintable():
                return OwnData(root, tuple(classes))
    raise SetupError(f"{problem}dict(root=..., classes=(...))")


class Start(NamedTuple):
    """What a run of a recipe for own data began with.

    Attributes:
        choices: The settings that followed its data and its command.
        weights: Of its backbone; None: random.
        is_amp: Whether it trains in mixed precision.
    """

    choices: Choices
    weights: str | None
    is_amp: bool


def start_of(record: Path) -> Start | None:
    """What a run began with, from the config that lies beside its checkpoints.

    Args:
        record: The file, as for `own_data_of`.

    Returns:
        None where its recipe chooses nothing.

    Raises:
        SetupError: What was chosen does not stand there as plain values.
    """
    try:
        values = settings_of(record.read_text("utf-8"), {"choices", "model", "optim_wrapper"})
    except (ValueError, OSError) as error:
        raise SetupError(f"{record} cannot be read as plain values ({error})") from None
    if (told := values.get("choices")) is None:
        return None
    choices = as_choices(told)
    model, wrapper = values.get("model"), values.get("optim_wrapper")
    if choices is None or not isinstance(model, dict) or not isinstance(wrapper, dict):
        raise SetupError(f"{record}: expected choices, model and optim_wrapper of a run")
    return Start(choices, weights_in(model), wrapper.get("type") == "AmpOptimWrapper")


def settings_of(text: str, names: Container[str] | None = None) -> dict[str, Any]:
    """Settings of a config as mmengine writes it out, read without running it.

    Args:
        text: The config.
        names: Those that are read; None: all.

    Returns:
        Their values; of a setting that stands there more than once, the last.

    Raises:
        ValueError: It is no Python, or one of them is no plain value.
    """
    if len(text) > _LARGEST:
        raise ValueError(f"it has {len(text)} characters")
    try:
        assigned = [node for node in ast.parse(text).body if isinstance(node, ast.Assign)]
        return {
            target.id: _plain(node.value)
            for node in assigned
            for target in node.targets
            if isinstance(target, ast.Name) and (names is None or target.id in names)
        }
    except (TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(str(error)) from None


def _plain(node: ast.expr) -> Any:
    """The value of a literal, or of `dict(...)` with literals in it."""
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[ast.Dict()] | [] as first, keywords=named):
            if not all(keyword.arg for keyword in named):  # **something
                raise ValueError(f"line {node.lineno}: not a plain value")
            others = {str(keyword.arg): _plain(keyword.value) for keyword in named}
            return {**(_plain(first[0]) if first else {}), **others}
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {ast.literal_eval(key): _plain(value) for key, value in pairs if key}
        case ast.List(elts=items):
            return [_plain(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_plain(item) for item in items)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
    return ast.literal_eval(node)
