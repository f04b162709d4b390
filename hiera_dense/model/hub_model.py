"""A model on the Hugging Face hub: `from_pretrained`, `save_pretrained`, `push_to_hub`.

The one place where a model asks for the wing of weights, and only when it is called.
"""

from pathlib import Path
from typing import Any, Self

from huggingface_hub import PyTorchModelHubMixin
from torch import nn


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
                weights, by their name in `catalog.WEIGHTS`, or a repository or URL named there; or
                any other that `download.understand` knows, with `arch` given.
            permissive_only: Refuse weights that are not known to allow commercial use.
            **kwargs: Arguments of the model in place of those that were saved; and for a
                repository, huggingface_hub's `revision`, `token`, `cache_dir`, `force_download` and
                `local_files_only`.

        Raises:
            CheckpointError: The weights cannot be had, or do not fit.
            FileNotFoundError: There is no such folder.
        """
        from hiera_dense.weights.hub import build_filled

        return build_filled(cls, source, permissive_only, kwargs)

    def _save_pretrained(self, save_directory: Path) -> None:
        """What huggingface_hub calls beside writing the arguments."""
        from hiera_dense.weights.hub import write

        assert isinstance(self, nn.Module)
        if isinstance(self._hub_mixin_config, dict):  # how it is run is no part of a model
            self._hub_mixin_config.pop("compile", None)
        write(self, Path(save_directory), self.licence)
