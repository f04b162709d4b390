"""What a training began from, as its config tells."""

from collections.abc import Mapping
from typing import Any


def began_from(settings: Mapping[str, Any]) -> str | None:
    """The checkpoint that a config starts a training from.

    Args:
        settings: With `model`, and `load_from` and `resume` if the config has them.

    Returns:
        As the config names it: `load_from`, else that of the whole model, else that of its
        backbone. None: the training starts from random weights.
    """
    whole = settings.get("load_from")
    if isinstance(whole, str) and whole and not settings.get("resume"):
        return whole
    model = settings.get("model")
    model = model if isinstance(model, Mapping) else {}
    for part in (model, model.get("backbone")):
        if isinstance(part, Mapping) and (source := _pretrained(part)):
            return source
    return None


def _pretrained(part: Mapping[str, Any]) -> str | None:
    """The last checkpoint that `init_cfg` or `pretrained` of a part names."""
    init = part.get("init_cfg")
    several = init if isinstance(init, list | tuple) else [init]
    named = [
        cfg.get("checkpoint")
        for cfg in several
        if isinstance(cfg, Mapping) and str(cfg.get("type")).endswith("Pretrained")
    ]
    found = [name for name in (part.get("pretrained"), *named) if isinstance(name, str) and name]
    return found[-1] if found else None
