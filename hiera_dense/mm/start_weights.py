"""What the backbone of a training starts from: the weights of `--weights`, or of the config."""

from collections.abc import Mapping
from typing import Any

from hiera_dense.registry import MODELS  # isort: split

from mmengine.config import Config, ConfigDict

from hiera_dense.errors import CheckpointError, SetupError
from hiera_dense.weights.load import fill

NONE = "none"
_LAYER_DECAY = "hiera_dense.LayerDecayOptimWrapperConstructor"


def weights_in(model: Mapping[str, Any]) -> str | None:
    """The weights that a model of a config starts from; None: its backbone is random."""
    init_cfg = _network_of(model).get("init_cfg")
    checkpoint = init_cfg.get("checkpoint") if isinstance(init_cfg, Mapping) else None
    return checkpoint if isinstance(checkpoint, str) else None


def set_weights(cfg: Config, weights: str | None) -> None:
    """Let a training start from other weights than its config says.

    Random weights in place of others get no layer decay, which is for layers that have learned
    something.

    Args:
        cfg: The config, which is changed.
        weights: A name of published weights, a file, a URL or a hub id; None: random.

    Raises:
        SetupError: Its backbone is none of ours.
    """
    network = _network_of(cfg.model)
    if not str(network.get("type")).startswith("hiera_dense."):
        raise SetupError(
            f"--weights {weights or NONE}: the backbone of {cfg.filename} is a "
            f"{network.get('type')}; expected a config with a hiera_dense.HieraBackbone"
        )
    if weights == weights_in(cfg.model):
        return
    network.init_cfg = None if weights is None else dict(type="Pretrained", checkpoint=weights)
    if weights is None and cfg.optim_wrapper.get("constructor") == _LAYER_DECAY:
        cfg.optim_wrapper.paramwise_cfg.layer_decay_rate = 1.0


def try_weights(cfg: Config) -> str | None:
    """Fill a backbone with the weights of a config, before anything else is done.

    Returns:
        What was filled, and the licence of the weights; None where there are none.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: They cannot be downloaded, or do not fit the backbone.
    """
    if (weights := weights_in(cfg.model)) is None:
        return None
    network = _network_of(cfg.model)
    init_cfg = network.init_cfg
    backbone = MODELS.build(ConfigDict(network, init_cfg=None))
    try:
        report = fill(
            backbone,
            weights,
            init_cfg.get("permissive_only", False),
            init_cfg.get("prefix"),
            init_cfg.get("key"),
        )
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. Expected --weights with weights of arch {network.get('arch')!r}, a name or "
            f"a file, or --weights {NONE}"
        ) from None
    return str(report)


def _network_of(model: Mapping[str, Any]) -> Any:
    """The part of a model that is ours: a backbone, or all of a model of whole images."""
    return model.get("backbone", model)
