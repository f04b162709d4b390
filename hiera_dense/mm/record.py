"""What mmengine keeps of a run beside its checkpoints: the config, read as data."""

import ast
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from hiera_dense.errors import SetupError

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
        text = record.read_text("utf-8")
        if _NAME not in text:
            return None
        values = [_plain(node.value) for node in ast.parse(text).body if _is_own_data(node)]
    except (ValueError, TypeError, OSError, SyntaxError, RecursionError, MemoryError) as error:
        raise SetupError(f"{problem}plain values, as in the record of a run ({error})") from None
    if not values:
        return None
    match values[-1]:
        case {"root": str(root), "classes": tuple() | list() as classes} if all(
            isinstance(name, str) for name in classes
        ):
            if "\0" not in root and root.isprintable():
                return OwnData(root, tuple(classes))
    raise SetupError(f"{problem}dict(root=..., classes=(...))")


def _is_own_data(node: ast.stmt) -> TypeGuard[ast.Assign]:
    if not isinstance(node, ast.Assign):
        return False
    return any(isinstance(target, ast.Name) and target.id == _NAME for target in node.targets)


def _plain(node: ast.expr) -> Any:
    """The value of a literal, or of `dict(...)` with literals in it."""
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            return {str(keyword.arg): _plain(keyword.value) for keyword in keywords}
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {ast.literal_eval(key): _plain(value) for key, value in pairs if key}
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return tuple(_plain(item) for item in items)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
    return ast.literal_eval(node)
