"""Checkpoints of models with random weights, as runs of mmengine leave them."""

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

CLASSES = {
    "mmdet": ("disc", "square", "triangle", "star"),
    "mmseg": ("background", "disc", "square", "triangle", "star"),
}


def random_model(cfg: Config, spread: float) -> Any:
    """The model of a config, with random weights that differ from place to place."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(copy.deepcopy(cfg.model))  # some models write into their settings
        model.init_weights()
    for parameter in model.parameters():  # random heads are sure of nothing
        parameter.data += spread * torch.randn_like(parameter)
    return model


def save(cfg: Config, path: Path, model: Any = None, **meta: Any) -> None:
    """Write a checkpoint of a config, of a model or with random weights."""
    model = random_model(cfg, 0.02) if model is None else model
    told = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES[cfg.default_scope]))
    torch.save(dict(state_dict=model.state_dict(), meta=told | meta), path)
