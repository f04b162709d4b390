"""Models on the Hugging Face hub: `from_pretrained`, `save_pretrained`, `push_to_hub`."""

import inspect
import json
from pathlib import Path
from typing import Any, Self

from huggingface_hub import PyTorchModelHubMixin
from torch import nn

from hiera_dense import fetch, files
from hiera_dense.checkpoint import load_pretrained
from hiera_dense.errors import CheckpointError
from hiera_dense.variants import Weight

_CONFIG = "config.json"
_HUB_OPTIONS = ("revision", "token", "cache_dir", "force_download", "local_files_only")


class HubModel(
    PyTorchModelHubMixin,
    library_name="hiera_dense",
    tags=["hiera"],
    paper_url="https://arxiv.org/abs/2306.00989",
):
    """huggingface_hub's mixin, with this package's strict and safe loading.

    A folder or repository holds `model.safetensors`, and in `config.json` the arguments that the
    model was built with. The licence of weights that a model came with goes with them.

    Attributes:
        licence: Of the weights that `from_pretrained` filled the model with; None: unknown.
    """

    licence: str | None = None

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, source: str | Path, permissive_only: bool = False, **kwargs: Any
    ) -> Self:
        """Build a model and fill it; it comes in eval mode.

        Args:
            source: A folder or repository that `save_pretrained` or `push_to_hub` wrote; published
                weights, by their name in `variants.WEIGHTS`, or a repository or URL named there; or
                any other that `fetch.understand` knows, with `arch` given.
            permissive_only: Refuse weights that are not known to allow commercial use.
            **kwargs: Arguments of the model in place of those that were saved; and for a
                repository, huggingface_hub's `revision`, `token`, `cache_dir`, `force_download` and
                `local_files_only`.

        Raises:
            CheckpointError: The weights cannot be had, or do not fit.
            FileNotFoundError: There is no such folder.
        """
        options = {name: kwargs.pop(name) for name in _HUB_OPTIONS if name in kwargs}
        place = fetch.understand(source)
        known = _published(place.weight) if place.weight else _saved(place, kwargs, options)
        known = {name: value for name, value in known.items() if _takes(cls, name)}
        if "arch" not in (arguments := {**known, **kwargs}):
            raise CheckpointError(f"{source}: nothing says which arch it is; expected arch=...")
        model = cls(**arguments)
        assert isinstance(model, nn.Module)
        report = load_pretrained(model, source, permissive_only, **options)
        model.licence = report.licence
        model.eval()
        return model

    def _save_pretrained(self, save_directory: Path) -> None:
        """What huggingface_hub calls beside writing the arguments."""
        assert isinstance(self, nn.Module)
        if isinstance(self._hub_mixin_config, dict):  # how it is run is no part of a model
            self._hub_mixin_config.pop("compile", None)
        metadata = {"format": "pt"} | ({"licence": self.licence} if self.licence else {})
        files.write(Path(save_directory) / fetch.WEIGHTS_FILE, self.state_dict(), metadata, None)


def _takes(model: type, argument: str) -> bool:
    """Whether a model has an argument: a trunk has fewer than the autoencoder that was saved."""
    parameters = inspect.signature(model).parameters
    return argument in parameters or "kwargs" in parameters


def _published(weight: Weight) -> dict[str, Any]:
    """The arguments that published weights are for."""
    classes = {"num_classes": weight.classes} if weight.classes else {}
    return {"arch": weight.arch, **classes}


def _saved(place: fetch.Source, given: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were saved beside weights, if there are any."""
    if place.hub:
        try:
            path = fetch.from_hub(place.hub[0], _CONFIG, **options)
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
    try:
        arguments: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    return arguments
