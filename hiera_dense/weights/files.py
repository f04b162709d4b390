"""Reading and writing checkpoint files. Reading runs no code from them."""

import pickle
import re
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hiera_dense.errors import CheckpointError

_ZIP, _PICKLE = b"PK", b"\x80"


class Inert:
    """Stands for an object of a class of mmengine's; its attributes are what the file had."""


class Attribute(NamedTuple):
    """Stands for a function of a class: the name of the class, and its own."""

    owner: str
    name: str


def read(path: Path | str) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a checkpoint: safetensors, or what `torch.save` wrote, by content and not by name.

    Of the classes that a pickle may name, only those are admitted that make up checkpoints of
    weights and of mmengine's runs: tensors, NumPy's arrays, and, for a few classes of mmengine's,
    `Inert` and `Attribute` in their place.

    Args:
        path: The file.

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
    if (start[:2] == _ZIP or start[:1] == _PICKLE) and not tarfile.is_tarfile(path):
        return _read_torch(path, start[:2] == _ZIP), {}
    raise CheckpointError(
        f"{path}: not a checkpoint; expected safetensors, or a file of torch.save (.pth, .pt)"
    )


def write(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], wrapper: str | None
) -> None:
    """Write weights, whole or not at all: safetensors for that suffix, else with `torch.save`.

    Args:
        path: The file.
        tensors: By name.
        metadata: Kept by safetensors alone.
        wrapper: Put the tensors under this key; not for safetensors, which has none.
    """
    own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    part = path.with_name(f"{path.name}.part")
    if path.suffix == ".safetensors":
        save_file(own, part, dict(metadata))
    else:
        torch.save({wrapper: own} if wrapper else own, part)
    part.replace(path)


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: cut short or damaged: {error}") from None


def _read_torch(path: Path, is_zip: bool) -> dict[str, Any]:
    admitted = _admitted()
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        if is_zip:
            _refuse_programs(path)
        with torch.serialization.safe_globals(admitted):
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
    finally:
        torch.serialization.add_safe_globals(others)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected a dict")
    return content


def _refuse_programs(path: Path) -> None:
    """Refuse TorchScript, which torch before 2.6 runs in spite of `weights_only`."""
    # The reader that torch.load uses: another one might see other files in the same archive.
    if "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
        raise pickle.UnpicklingError("GLOBAL TorchScript")


def _admitted() -> list[Any]:
    """What mmengine's checkpoints name besides what weights do."""
    # Its history of scalars, its schedule with a function in it, and its dict of a config.
    classes = [
        _stand_in("mmengine.logging.history_buffer.HistoryBuffer"),
        _stand_in("mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler"),
    ]

    def attribute(owner: Any, name: str) -> Attribute:
        if owner not in classes:
            raise pickle.UnpicklingError("GLOBAL builtins.getattr")
        return Attribute(owner.__name__, name)

    numpy_core = getattr(np, "_core", None) or np.core
    functions = [
        _named(function, f"{package}.multiarray.{name}")
        for package in ("numpy.core", "numpy._core")
        for name, function in (
            ("_reconstruct", numpy_core.multiarray._reconstruct),
            ("scalar", numpy_core.multiarray.scalar),
        )
    ]
    functions.append(_named(attribute, "builtins.getattr"))
    functions.append(_named(dict, "mmengine.config.config.ConfigDict"))
    dtypes = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    return [*classes, *functions, np.ndarray, np.dtype, *dtypes]


def _stand_in(name: str) -> type:
    """An `Inert` class that the unpickler finds under another name."""
    module, _, own = name.rpartition(".")
    return type(own, (Inert,), {"__module__": module})


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function that the unpickler finds under another name."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__, _, stand_in.__name__ = name.rpartition(".")
    stand_in.__qualname__ = stand_in.__name__
    return stand_in
