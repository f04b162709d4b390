"""What `torch.save` wrote, read without running code from it.

Of the classes that a pickle may name, only those are admitted that make up checkpoints of weights
and of mmengine's runs: tensors, NumPy's arrays, and, for a few classes of mmengine's, `Inert` and
`Attribute` in their place.
"""

import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hiera_dense.errors import CheckpointError


class Inert:
    """Stands for an object of a class of mmengine's; its attributes are what the file had."""


class Attribute(NamedTuple):
    """Stands for a function of a class: the name of the class, and its own."""

    owner: str
    name: str


def read(path: Path, is_zip: bool) -> dict[str, Any]:
    """Read a file of `torch.save`.

    Args:
        path: The file.
        is_zip: Whether it has the format of torch 1.6 and newer.

    Raises:
        CheckpointError: It is damaged, holds no dict, or names classes that are not admitted.
    """
    admitted = _admitted()
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        if is_zip:
            _refuse_programs(path)
            if damage := damage_of(path):
                raise CheckpointError(f"{path}: {damage}")
        _refuse_made_up_bytes(path, is_zip)
        with torch.serialization.safe_globals(admitted):
            # Mapped, no tensor can reach beyond the file, whatever sizes the pickle claims.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        _take_into_memory(content)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        # torch's own message advises to load the file unsafely.
        patterns = (r"GLOBAL (\S+)", r"WeightsUnpickler error: ([^\n]{1,80})")
        found = next(filter(None, (re.search(p, str(error)) for p in patterns)), None)
        reason = found[1] if found else "no pickle of tensors"
        raise CheckpointError(
            f"{path}: refused, since loading it could run code: it holds more than tensors and "
            f"plain values ({reason}); expected safetensors, or a file with nothing else in it"
        ) from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise CheckpointError(f"{path}: cut short or damaged: {error}") from None
    finally:
        torch.serialization.add_safe_globals(others)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected a dict")
    return content


def damage_of(path: Path) -> str | None:
    """What is wrong with a file in the format of torch 1.6 and newer; reads all of it.

    Returns:
        In words; None: each byte is as its checksum tells.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
                return "a compressed archive; expected a file as torch.save writes it"
            if name := archive.testzip():
                return f"cut short or damaged: the checksum of {name} is another"
    except Exception as error:  # damaged archives raise nearly anything
        return f"cut short or damaged: {error}"
    return None


def _refuse_programs(path: Path) -> None:
    """Refuse TorchScript, which torch before 2.6 runs in spite of `weights_only`."""
    # The reader that torch.load uses: another one might see other files in the same archive.
    if "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
        raise pickle.UnpicklingError("GLOBAL TorchScript")


def _refuse_made_up_bytes(path: Path, is_zip: bool) -> None:
    """Refuse `bytearray`, which torch admits: of a number it makes as many bytes."""
    if is_zip:
        content = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")
    else:
        content = path.read_bytes()
    if b"bytearray" not in content:
        return
    for code, argument, _ in pickletools.genops(content):
        if code.name == "GLOBAL" and argument == "builtins bytearray":
            raise pickle.UnpicklingError("GLOBAL builtins.bytearray")


def _take_into_memory(content: Any) -> None:
    """Replace tensors by copies, wherever they stand; the file can then be removed."""
    boxes, seen = [content], set()
    while boxes:
        box = boxes.pop()
        if id(box) in seen:
            continue
        seen.add(id(box))
        for key, value in list(box.items() if isinstance(box, dict) else enumerate(box)):
            if isinstance(value, dict | list | tuple):
                boxes.append(value)
            elif isinstance(value, Tensor) and not isinstance(box, tuple):
                box[key] = _copy(value, key)


def _copy(tensor: Tensor, name: Any) -> Tensor:
    if tensor.is_meta:
        raise ValueError(f"{name} has no values")
    if tensor.is_nested or tensor.is_quantized or tensor.layout != torch.strided:
        return tensor
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} claims more values than the file has")
    return tensor.clone()


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
