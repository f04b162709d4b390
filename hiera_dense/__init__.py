"""Hiera as a backbone for detection and segmentation.

    from hiera_dense import Hiera, HieraBackbone, MaskedAutoencoder, Classifier
    from hiera_dense import Predictor, load_pretrained, recipe

Each is imported when it is first asked for, so `import hiera_dense` itself loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiera_dense.errors import CheckpointError, DataError
    from hiera_dense.mm.backbone import HieraBackbone
    from hiera_dense.model.classifier import Classifier
    from hiera_dense.model.hiera import Hiera
    from hiera_dense.model.mae import MaskedAutoencoder
    from hiera_dense.predict.predictor import Predictor
    from hiera_dense.predict.results import Result
    from hiera_dense.recipes import recipe
    from hiera_dense.weights.load import load_pretrained

__version__ = "0.1.0"
__all__ = [
    "CheckpointError",
    "Classifier",
    "DataError",
    "Hiera",
    "HieraBackbone",
    "MaskedAutoencoder",
    "Predictor",
    "Result",
    "load_pretrained",
    "recipe",
]

_HOMES = {
    "CheckpointError": "errors",
    "DataError": "errors",
    "Classifier": "model.classifier",
    "Hiera": "model.hiera",
    "HieraBackbone": "mm.backbone",
    "MaskedAutoencoder": "model.mae",
    "Predictor": "predict.predictor",
    "Result": "predict.results",
    "load_pretrained": "weights.load",
    "recipe": "recipes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
