"""The functions of facebookresearch/hiera (`hiera.py`, `hiera_mae.py`), with models of ours.

Code that was written for the original runs with `from hiera_dense import original as hiera`, or
through torch.hub. Parameter names, arguments and results are the original's: probabilities in eval
mode, `(x, intermediates)`, and (loss, prediction, label, mask) of an MAE.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hiera_dense.model.classifier import Classifier
from hiera_dense.model.mae import MaskedAutoencoder
from hiera_dense.model.variants import ARCHS
from hiera_dense.model.windows import Size, ceil_div
from hiera_dense.weights.load import load_pretrained

_RENAMED = {"in_chans": "in_channels", "decoder_embed_dim": "decoder_dim"}


class Hiera(Classifier):
    """The original's class, for its `from_pretrained`: a `Classifier` that gives probabilities.

    Args:
        arch: A name in `variants.ARCHS`, or the fields of an `arch.Arch`.
        **kwargs: As for `Classifier`.
    """

    def __init__(self, arch: str | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(arch, **{"softmax_in_eval": True, **kwargs})


MaskedAutoencoderHiera = MaskedAutoencoder


def _function(arch: str, is_mae: bool) -> Callable[..., Any]:
    """One function of the original."""
    weights = arch if arch.endswith("x224") else f"{arch}_224"
    data = "k400" if arch.endswith("x224") else "in1k"
    finetuned, pretraining = f"mae_{data}_ft_{data}", f"mae_{data}"
    checkpoints = (pretraining,) if is_mae else (finetuned, pretraining)

    def build(
        pretrained: bool = False,
        checkpoint: str = checkpoints[0],
        strict: bool = True,
        input_size: Size | None = None,
        **kwargs: Any,
    ) -> Any:
        if not strict:
            raise ValueError("strict=False; expected True: a trunk is filled whole or not at all")
        if checkpoint not in checkpoints:
            raise ValueError(f"checkpoint {checkpoint!r}; expected {' or '.join(checkpoints)}")
        settings = {_RENAMED.get(name, name): value for name, value in kwargs.items()}
        if input_size and not pretrained:
            settings |= _tables(arch, tuple(input_size), is_mae)
        if is_mae:
            settings.pop("num_classes", None)  # the original takes it and has no use for it
            model: Any = MaskedAutoencoder(arch, **settings)
        else:
            model = Hiera(arch, **settings)
        if pretrained:
            load_pretrained(model, f"hiera_{weights}.{checkpoint}")
        return model

    build.__name__ = build.__qualname__ = f"{'mae_' if is_mae else ''}hiera_{weights}"
    kind = "masked autoencoder" if is_mae else "classifier"
    build.__doc__ = f"""Hiera, arch `{arch}`, as a {kind}.

    Args:
        pretrained: Download and load published weights (CC BY-NC 4.0).
        checkpoint: Which: {" or ".join(checkpoints)}.
        strict: True; what starts anew beside the trunk is told.
        input_size: Pixels per axis that position tables are made for; those of published weights
            keep their size. Other inputs work too.
        **kwargs: As in the original: `in_chans`, `drop_path_rate`, ...; or as for
            `{"mae.MaskedAutoencoder" if is_mae else "classifier.Classifier"}`.
    """
    return build


def _tables(arch: str, input_size: Size, is_mae: bool) -> dict[str, Any]:
    """Position tables as large as the original's for an input."""
    known = ARCHS[arch]
    size = ceil_div(input_size, known.patch_stride)
    tables: dict[str, Any] = dict(pos_embed=dict(size=size))
    if is_mae:  # two stages pool
        tables["decoder_size"] = ceil_div(ceil_div(size, known.q_stride), known.q_stride)
    return tables


hiera_tiny_224 = _function("tiny", is_mae=False)
hiera_small_224 = _function("small", is_mae=False)
hiera_base_224 = _function("base", is_mae=False)
hiera_base_plus_224 = _function("base_plus", is_mae=False)
hiera_large_224 = _function("large", is_mae=False)
hiera_huge_224 = _function("huge", is_mae=False)
hiera_base_16x224 = _function("base_16x224", is_mae=False)
hiera_base_plus_16x224 = _function("base_plus_16x224", is_mae=False)
hiera_large_16x224 = _function("large_16x224", is_mae=False)
hiera_huge_16x224 = _function("huge_16x224", is_mae=False)

mae_hiera_tiny_224 = _function("tiny", is_mae=True)
mae_hiera_small_224 = _function("small", is_mae=True)
mae_hiera_base_224 = _function("base", is_mae=True)
mae_hiera_base_plus_224 = _function("base_plus", is_mae=True)
mae_hiera_large_224 = _function("large", is_mae=True)
mae_hiera_huge_224 = _function("huge", is_mae=True)
mae_hiera_base_16x224 = _function("base_16x224", is_mae=True)
mae_hiera_base_plus_16x224 = _function("base_plus_16x224", is_mae=True)
mae_hiera_large_16x224 = _function("large_16x224", is_mae=True)
mae_hiera_huge_16x224 = _function("huge_16x224", is_mae=True)

FUNCTIONS = tuple(name for name in dict(globals()) if name.startswith(("hiera_", "mae_")))
__all__ = ["Hiera", "MaskedAutoencoderHiera", *FUNCTIONS]
