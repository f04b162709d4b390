"""Reading and writing checkpoint files. Reading runs no code from them."""

import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor

from hiera_dense.errors import CheckpointError
from hiera_dense.weights import pickles
from hiera_dense.writing import whole_file

INDEX = ".index.json"  # ends the name of the file that lists the parts of others
_ZIP, _PICKLE, _NUMPY = b"PK", b"\x80", b"\x93NUMPY"


def read(path: Path | str) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a checkpoint: safetensors, or what `torch.save` wrote, by content and not by name.

    Each byte is compared with its checksum where the file has one. For what a pickle may hold, see
    `pickles`.

    Args:
        path: The file, or the index (`*.index.json`) of one that is in several parts.

    Returns:
        The content, tensors on the CPU, and the metadata (of safetensors alone).

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is no checkpoint, is damaged, or names classes that are not admitted.
    """
    path = Path(os.path.expanduser(path))  # which leaves users that are not there
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.name.endswith(INDEX):
        return _read_parts(path)
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    is_numpy = start.startswith(_NUMPY) or path.suffix == ".npz"
    is_torch = start[:2] == _ZIP or start[:1] == _PICKLE
    if is_torch and not is_numpy and not tarfile.is_tarfile(path):
        return pickles.read(path, start[:2] == _ZIP), {}
    kind = "an array of NumPy's" if is_numpy else "not a checkpoint"
    raise CheckpointError(
        f"{path}: {kind}; expected safetensors, or a file of torch.save (.pth, .pt, .bin)"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file with an object in it.

    Raises:
        CheckpointError: It is something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; expected an object")
    return content


def write(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], wrapper: str | None
) -> None:
    """Write weights, whole or not at all: safetensors for that suffix, else with `torch.save`.

    Args:
        path: The file.
        tensors: By name.
        metadata: Kept by safetensors alone.
        wrapper: Put the tensors under this key; not for safetensors, which has none.

    Raises:
        WriteError: The disk is full, or does not let us write.
    """
    own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        content = to_safetensors(own, dict(metadata))
    else:
        buffer = io.BytesIO()
        torch.save({wrapper: own} if wrapper else own, buffer)
        content = buffer.getvalue()
    with whole_file(path) as part:
        part.write_bytes(content)


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except Exception as error:  # its own, and what torch says of a kind that it does not know
        raise CheckpointError(f"{path}: cut short or damaged: {error}") from None


def _read_parts(index: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A checkpoint in several files beside each other, as huggingface_hub splits them."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise CheckpointError(f"{index}: no weight_map; expected a file name for each tensor")
    content: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    for name, count in Counter(places.values()).items():
        if name != Path(name).name or name.endswith(INDEX):
            raise CheckpointError(f"{index} names {name!r}; expected files of its own folder")
        tensors, notes = read(index.with_name(name))
        if set(tensors) != {tensor for tensor, place in places.items() if place == name}:
            raise CheckpointError(
                f"{index} names {count} tensors of {name}, which holds {len(tensors)} and not the "
                "same; expected the index that belongs to it"
            )
        content |= tensors
        metadata |= notes
    return content, metadata
