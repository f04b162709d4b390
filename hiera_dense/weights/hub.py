"""Models from the Hugging Face hub and to it; what `model.hub_model.HubModel` hands on."""

import inspect
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn

from hiera_dense.errors import CheckpointError
from hiera_dense.weights import download, files
from hiera_dense.weights.catalog import Weight
from hiera_dense.weights.load import fill_from, require_permissive

_CONFIG = "config.json"
_HUB_OPTIONS = ("revision", "token", "cache_dir", "force_download", "local_files_only")
Model = TypeVar("Model")


def build_filled(
    kind: type[Model], source: str | Path, permissive_only: bool, given: dict[str, Any]
) -> Model:
    """What `HubModel.from_pretrained` does.

    Args:
        kind: The class of the model.
        source, permissive_only: Its arguments.
        given: Its other keyword arguments.
    """
    options = {name: given[name] for name in _HUB_OPTIONS if name in given}
    own = {name: value for name, value in given.items() if name not in options}
    place = download.understand(source)
    known = _arguments_of(place.weight) if place.weight else _saved(place, own, options)
    known = {name: value for name, value in known.items() if _takes(kind, name)}
    if "arch" not in (arguments := {**known, **own}):
        raise CheckpointError(f"{source}: nothing says which arch it is; expected arch=...")
    if permissive_only and place.weight:
        require_permissive(place.said, place.weight.licence)
    path = download.locate(place, **options)
    _require_of_that_size(kind, arguments, path)
    model: Any = kind(**arguments)
    report = fill_from(model, place, path, permissive_only)
    report.log()
    model.licence = report.licence
    model.eval()
    return cast(Model, model)


def write(model: nn.Module, folder: Path, licence: str | None) -> None:
    """The weights of a model as `model.safetensors`, with their licence."""
    metadata = {"format": "pt"} | ({"licence": licence} if licence else {})
    files.write(folder / download.WEIGHTS_FILE, model.state_dict(), metadata, None)


def _require_of_that_size(kind: type, arguments: dict[str, Any], path: Path) -> None:
    """Refuse arguments of a stranger for a model that is far larger than its weights."""
    with torch.device("meta"):
        probe = kind(**{name: value for name, value in arguments.items() if name != "compile"})
    values = sum(tensor.numel() for tensor in probe.state_dict().values())
    parts = path.parent.glob("*") if path.name.endswith(files.INDEX) else [path]
    size = sum(part.stat().st_size for part in parts)
    if values > 4 * size:  # an eighth of the smallest type, so that it is no question of types
        raise CheckpointError(
            f"{_CONFIG} asks for a model of {values:,} values; {path} has {size:,} bytes; expected "
            "the arguments that the weights were saved with"
        )


def _takes(model: type, argument: str) -> bool:
    """Whether a model has an argument: a trunk has fewer than the autoencoder that was saved."""
    parameters = inspect.signature(model).parameters
    return argument in parameters or "kwargs" in parameters


def _arguments_of(weight: Weight) -> dict[str, Any]:
    """The arguments that published weights are for."""
    classes = {"num_classes": weight.classes} if weight.classes else {}
    return {"arch": weight.arch, **classes}


def _saved(
    place: download.Source, given: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    """The arguments that were saved beside weights, if there are any."""
    if place.hub:
        try:
            path = download.from_hub(place.hub[0], _CONFIG, **options)
        except CheckpointError:
            if "arch" not in given:
                raise
            return {}
    elif place.path:
        path = place.path.with_name(_CONFIG)
    else:
        return {}
    if not path.is_file():
        return {}
    return files.read_json(path)
