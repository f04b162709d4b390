"""Models on the Hugging Face hub: `from_pretrained`, `save_pretrained`, `push_to_hub`."""

from pathlib import Path
from typing import Any, Self

from huggingface_hub import PyTorchModelHubMixin
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE

from hiera_dense import fetch
from hiera_dense.checkpoint import load_pretrained
from hiera_dense.errors import CheckpointError


class HubModel(
    PyTorchModelHubMixin,
    library_name="hiera_dense",
    tags=["hiera"],
    paper_url="https://arxiv.org/abs/2306.00989",
):
    """huggingface_hub's mixin with this package's strict and safe loading.

    A folder or repository holds `model.safetensors`, and in `config.json` the arguments that the
    model was built with.
    """

    @classmethod
    def from_pretrained(cls, source: str | Path, **kwargs: Any) -> Self:  # type: ignore[override]
        """Build a model and fill it; it comes in eval mode.

        Args:
            source: A folder or repository that `save_pretrained` or `push_to_hub` wrote; or
                published weights, by their name in `variants.WEIGHTS`, or a repository or URL named
                there.
            **kwargs: Arguments of the model in place of those that were saved; and for a
                repository, huggingface_hub's `revision`, `token`, `cache_dir`, `force_download` and
                `local_files_only`.

        Raises:
            CheckpointError: The weights cannot be had, or do not fit.
            FileNotFoundError: There is no such folder.
        """
        place = fetch.understand(source)
        if place.weight is None:
            model: Self = super().from_pretrained(source, **kwargs)
            return model
        model = cls(**{"arch": place.weight.arch, **kwargs})
        load_pretrained(model, source)  # type: ignore[arg-type]  # always a Module too
        return model.eval()  # type: ignore[attr-defined,no-any-return]

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **kwargs: Any) -> Self:
        """What huggingface_hub calls once it has read the arguments that were saved."""
        hub_options = ("revision", "token", "cache_dir", "force_download", "local_files_only")
        options = {name: kwargs.pop(name, None) for name in hub_options}
        arguments = {name: value for name, value in kwargs.items() if name not in _UNUSED}
        folder = Path(model_id)
        if not folder.is_dir():
            folder = fetch.from_hub(model_id, SAFETENSORS_SINGLE_FILE, **options).parent
        if "arch" not in arguments:
            raise CheckpointError(f"{model_id}: its config.json has no arch; expected arch=...")
        model = cls(**arguments)
        load_pretrained(model, folder)  # type: ignore[arg-type]
        return model.eval()  # type: ignore[attr-defined,no-any-return]


_UNUSED = ("map_location", "strict", "proxies", "resume_download")  # of some versions of the hub
