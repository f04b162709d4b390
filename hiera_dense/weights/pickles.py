"""What `torch.save` wrote, read without running code from it.

Of the classes that a pickle may name, only those are admitted that make up checkpoints of weights
and of mmengine's runs: tensors, NumPy's arrays, and, for a few classes of mmengine's, `Inert` and
`Attribute` in their place.
"""

import io
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hiera_dense.errors import CheckpointError, shown
from hiera_dense.weights.stored import is_dense

_LEGACY = 5  # pickles in a file of torch before 1.6
_MADE_UP = ("builtins bytearray", "__builtin__ bytearray")
_LONGEST = 200  # characters of the name of a class


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
        _look_through(path, is_zip)
        with torch.serialization.safe_globals(admitted):
            # Mapped, no tensor can reach beyond the file, whatever sizes the pickle claims.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        _take_into_memory(content, path.stat().st_size)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        # torch's own message advises to load the file unsafely.
        patterns = (
            r"GLOBAL (\S+)",
            r"got <class '([^']{1,80})'",
            r"WeightsUnpickler error: ([^\n]{1,80})",
            r"((?:Unsupported|Trying)[^\n]{1,80})",
        )
        found = next(filter(None, (re.search(p, str(error)) for p in patterns)), None)
        reason = found[1] if found else "no pickle of tensors"
        raise CheckpointError(
            f"{path}: refused, since loading it could run code: it holds more than tensors and "
            f"plain values ({reason}); expected safetensors, or a file with nothing else in it"
        ) from None
    except Exception as error:  # a damaged pickle raises nearly anything
        said = shown(str(error) or type(error).__name__, 300)
        raise CheckpointError(f"{path}: cut short or damaged: {said}") from None
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
            starts = {entry.filename: _start_of(archive, entry) for entry in entries}
            if starts != _starts(path, entries[0].filename.split("/")[0]):
                return "two lists of what is in it, and not the same; expected one"
            if name := archive.testzip():
                return (
                    f"cut short or damaged: the checksum of {shown(name)} is another (or none was "
                    "written, by torch.serialization.set_crc32_options(False))"
                )
    except Exception as error:  # damaged archives raise nearly anything
        return f"cut short or damaged: {shown(str(error) or type(error).__name__, 300)}"
    return None


def _start_of(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Where the content of a file in an archive begins, after its own header."""
    assert archive.fp
    archive.fp.seek(entry.header_offset + 26)
    name, extra = struct.unpack("<HH", archive.fp.read(4))
    return entry.header_offset + 30 + int(name) + int(extra)


def _starts(path: Path, folder: str) -> dict[str, int]:
    """The same as torch sees it, which might see other files in the same archive."""
    reader: Any = torch._C.PyTorchFileReader(str(path))
    names = reader.get_all_records()
    return {f"{folder}/{name}": reader.get_record_offset(name) for name in names}


def _refuse_programs(path: Path) -> None:
    """Refuse TorchScript, which torch before 2.6 runs in spite of `weights_only`."""
    # The reader that torch.load uses: another one might see other files in the same archive.
    if "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
        raise pickle.UnpicklingError("GLOBAL TorchScript")


def _look_through(path: Path, is_zip: bool) -> None:
    """Refuse what torch's reader of weights would take much time or memory for.

    That is `bytearray`, which makes as many bytes as a number says, and names and whole numbers of
    thousands of digits.
    """
    if is_zip:
        content = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")
        files = [io.BytesIO(content)]
    else:
        files = [io.BytesIO(path.read_bytes())] * _LEGACY  # one goes on where another ended
    for file in files:
        if file.tell() == len(file.getbuffer()):
            return
        for code, argument, _ in pickletools.genops(file):
            if code.name in ("GLOBAL", "INST") and argument in _MADE_UP:
                raise pickle.UnpicklingError("GLOBAL builtins.bytearray")
            is_long = isinstance(argument, int) and argument.bit_length() > 64
            is_long = is_long and argument != torch.serialization.MAGIC_NUMBER
            if is_long or (code.name in ("GLOBAL", "INST") and len(str(argument)) > _LONGEST):
                raise ValueError("a name or a number in it is too long")


def _take_into_memory(content: Any, limit: int) -> None:
    """Replace tensors by copies, wherever they stand; the file can then be removed.

    Args:
        content: What was read.
        limit: Bytes of the file, which all values together cannot exceed.
    """
    boxes, seen = [content], set()
    copies = _Copies(limit)
    while boxes:
        box = boxes.pop()
        if id(box) in seen:
            continue
        seen.add(id(box))
        for key, value in list(box.items() if isinstance(box, dict) else enumerate(box)):
            if isinstance(value, dict | list | tuple):
                boxes.append(value)
            elif isinstance(value, Tensor) and not isinstance(box, tuple):
                box[key] = copies.of(value, shown(str(key)))


class _Copies:
    """Tensors in memory of their own; those that share their values go on to share them.

    Args:
        limit: Bytes that all of them may take.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._storages: dict[tuple[int, int], torch.UntypedStorage] = {}

    def of(self, tensor: Tensor, name: str) -> Tensor:
        """The copy of a tensor; one that is not dense stays."""
        if tensor.is_meta:
            raise ValueError(f"{name} has no values")
        if not is_dense(tensor):
            return tensor
        storage = tensor.untyped_storage()
        place = storage.data_ptr(), storage.nbytes()
        if place not in self._storages:
            self._left -= storage.nbytes()
        if tensor.numel() * tensor.element_size() > storage.nbytes() or self._left < 0:
            raise ValueError(f"{name} claims more values than the file has")
        if place not in self._storages:
            self._storages[place] = storage.clone()  # type: ignore[no-untyped-call]
        view = torch.empty(0, dtype=tensor.dtype)
        return view.set_(
            self._storages[place], tensor.storage_offset(), tensor.shape, tensor.stride()
        )


def _admitted() -> list[Any]:
    """What mmengine's checkpoints name besides what weights do."""
    # Its history of scalars, its schedule with a function in it, and its dict of a config.
    classes = [
        _stand_in("mmengine.logging.history_buffer.HistoryBuffer"),
        _stand_in("mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler"),
        _stand_in("argparse.Namespace"),  # of facebookresearch's trainings
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
    functions.append(_named(lambda *_: {}, "collections.defaultdict"))
    functions += [list, int, float]  # which such a dict makes new entries with
    functions += [_named(_joined, f"pathlib.{kind}Path") for kind in ("Posix", "Windows")]
    dtypes = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    return [*classes, *functions, np.ndarray, np.dtype, *dtypes]


def _joined(*parts: Any) -> str:
    """A path, as text."""
    return "/".join(map(str, parts))


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
