"""Pretrained weights from a config: `init_cfg=dict(type='hiera_dense.Pretrained', checkpoint=...)`.

mmengine's own `Pretrained` loads with `strict=False`, so weights that fit nothing leave a random
backbone behind; this one goes through `weights.load`.
"""

from typing import Any

from hiera_dense.registry import WEIGHT_INITIALIZERS  # isort: split

from mmengine.logging import print_log
from mmengine.model import update_init_info
from torch import nn

from hiera_dense.weights.load import fill


@WEIGHT_INITIALIZERS.register_module()
class Pretrained:
    """Fill a backbone with pretrained weights.

    Args:
        checkpoint: A name of published weights, a file, a URL, or a hub id.
        permissive_only: Refuse weights that are not known to allow commercial use.
        prefix: Look only at names that start so, in a file with several trunks.
        key: Where the weights stand in a file with several state dicts, e.g. `state_dict_ema`.
    """

    def __init__(
        self,
        checkpoint: str,
        permissive_only: bool = False,
        prefix: str | None = None,
        key: str | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.permissive_only = permissive_only
        self.prefix = prefix
        self.key = key

    def __call__(self, module: nn.Module) -> None:
        """Fill a `HieraBackbone`.

        Raises:
            FileNotFoundError: There is no such file.
            CheckpointError: The weights do not fit; nothing was filled.
        """
        report = fill(module, self.checkpoint, self.permissive_only, self.prefix, self.key)
        print_log(str(report), logger="current")
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=f"hiera_dense.Pretrained: {self.checkpoint}")


def last_and_ours(init_cfg: Any) -> Any:
    """An `init_cfg` whose pretrained weights come after all else, and through this module."""
    if init_cfg is None:
        return None
    several = init_cfg if isinstance(init_cfg, list | tuple) else [init_cfg]
    ours = [{**cfg, "type": "hiera_dense.Pretrained"} for cfg in several if _is_pretrained(cfg)]
    for cfg in ours:
        cfg.pop("map_location", None)  # mmengine's; here weights go straight to their parameters
    return [*(cfg for cfg in several if not _is_pretrained(cfg)), *ours]


def _is_pretrained(cfg: Any) -> bool:
    name = cfg["type"] if isinstance(cfg["type"], str) else cfg["type"].__name__
    return name.split(".")[-1] in ("Pretrained", "PretrainedInit")
