"""Reading and writing checkpoint files. Reading runs no code from them."""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hiera_dense.formats import CheckpointError

_ZIP, _PICKLE = b"PK", b"\x80"


def read(
    path: Path | str, history_buffer: type | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a checkpoint: safetensors, or what `torch.save` wrote, by content and not by name.

    Of the classes that a pickle may name, only those are admitted that make up checkpoints of
    weights and of mmengine's runs.

    Args:
        path: The file.
        history_buffer: mmengine's class of that name, where a run goes on and needs what it holds;
            None: a stand-in that holds nothing, so that no mmengine is needed.

    Returns:
        The content, tensors on the CPU, and the metadata (of safetensors alone).

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is no checkpoint, is damaged, or names classes that are not admitted.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start[:2] == _ZIP or start[:1] == _PICKLE:
        return _read_torch(path, history_buffer), {}
    raise CheckpointError(
        f"{path}: not a checkpoint; expected safetensors, or a file of torch.save (.pth, .pt)"
    )


def write(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], wrapper: str | None
) -> None:
    """Write weights: safetensors for that suffix, else with `torch.save`.

    Args:
        path: The file.
        tensors: By name.
        metadata: Kept by safetensors alone.
        wrapper: Put the tensors under this key; not for safetensors, which has none.
    """
    own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(own, path, dict(metadata))
    else:
        torch.save({wrapper: own} if wrapper else own, path)


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: cut short or damaged: {error}") from None


def _read_torch(path: Path, history_buffer: type | None) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_admitted(history_buffer)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message advises to load the file unsafely.
        patterns = (r"GLOBAL (\S+)", r"WeightsUnpickler error: ([^\n]{1,80})")
        found = next(filter(None, (re.search(p, str(error)) for p in patterns)), None)
        reason = found[1] if found else "no pickle of tensors"
        raise CheckpointError(
            f"{path}: refused, since loading it could run code: it holds more than tensors and "
            f"plain values ({reason}); expected safetensors, or a file of these alone"
        ) from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise CheckpointError(f"{path}: cut short or damaged: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected a dict")
    return content


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function that the unpickler finds under another name."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__, _, stand_in.__name__ = name.rpartition(".")
    stand_in.__qualname__ = stand_in.__name__
    return stand_in


def _admitted(history_buffer: type | None) -> list[Any]:
    """What mmengine's checkpoints name besides what weights do: NumPy's arrays and its history."""
    buffer = history_buffer or type(
        "HistoryBuffer", (), {"__module__": "mmengine.logging.history_buffer"}
    )

    def statistic(owner: Any, name: str) -> Any:
        if owner is not buffer or name not in ("min", "max", "mean", "current"):
            raise pickle.UnpicklingError("GLOBAL builtins.getattr")
        return getattr(history_buffer, name, None)

    numpy_core = np._core.multiarray  # type: ignore[attr-defined]
    functions = [
        _named(function, f"{package}.multiarray.{name}")
        for package in ("numpy.core", "numpy._core")
        for name, function in (
            ("_reconstruct", numpy_core._reconstruct),
            ("scalar", numpy_core.scalar),
        )
    ]
    dtypes = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    return [
        buffer,
        _named(statistic, "builtins.getattr"),
        np.ndarray,
        np.dtype,
        *functions,
        *dtypes,
    ]
