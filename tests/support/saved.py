"""Checkpoints of models with random weights, as runs of mmengine leave them."""

import copy
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from hiera_dense.data.folders import VARIABLE
from support.training import DELTA, DETECTOR, HEADS, SEGMENTER

CLASSES = {
    "mmdet": ("disc", "square", "triangle", "star"),
    "mmseg": ("background", "disc", "square", "triangle", "star"),
}

_BASES = {"mmdet": DETECTOR, "mmseg": SEGMENTER}
FOLDERS = {"mmdet": "instances", "mmseg": "segments"}  # of drawn data


def small_config(host: str, folder: Path, data: Path) -> Config:
    """A config of a host with a trunk that is small, written to a folder.

    Args:
        host: Whose.
        folder: Where to.
        data: A folder of data that fits the host.
    """
    path = folder / f"{host}.py"
    path.write_text(DELTA.format(base=_BASES[host], heads=HEADS[host]))
    os.environ[VARIABLE] = str(data)
    try:
        return Config.fromfile(path)
    finally:
        del os.environ[VARIABLE]


def random_model(cfg: Config, spread: float) -> Any:
    """The model of a config, with random weights that differ from place to place."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(copy.deepcopy(cfg.model))  # some models write into their settings
        model.init_weights()
    for parameter in model.parameters():  # random heads are sure of nothing
        parameter.data += spread * torch.randn_like(parameter)
    return model


def save(cfg: Config, path: Path, model: Any = None, *, spread: float = 0.02, **meta: Any) -> None:
    """Write a checkpoint of a config, of a model or with random weights."""
    model = random_model(cfg, spread) if model is None else model
    told = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES[cfg.default_scope]))
    torch.save(dict(state_dict=model.state_dict(), meta=told | meta), path)
