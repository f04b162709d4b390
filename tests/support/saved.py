"""Checkpoints of models with random weights, as runs of mmengine leave them."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

CLASSES = {
    "mmdet": ("disc", "square", "triangle", "star"),
    "mmseg": ("background", "disc", "square", "triangle", "star"),
}


def save(cfg: Config, path: Path, **meta: Any) -> None:
    """Write a checkpoint of a config with random weights."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        model.init_weights()
    # Random heads are sure of nothing; so they differ from place to place.
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    told = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES[cfg.default_scope]))
    torch.save(dict(state_dict=model.state_dict(), meta=told | meta), path)
