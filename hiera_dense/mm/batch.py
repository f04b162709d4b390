"""The largest batch that a GPU has memory for: tried with real steps of the training."""

import copy
import gc
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope

from hiera_dense.errors import SetupError

ROOM = 0.1  # share of the GPU's memory that stays free, for images with more objects
_STEPS = 2  # the first one makes the optimizer's state


def largest_batch(fits: Callable[[int], bool], most: int) -> int:
    """The largest power of two that fits, up to the first one that does not.

    Args:
        fits: Whether a batch fits.
        most: The largest batch that is tried.

    Raises:
        SetupError: One image does not fit.
    """
    best, batch = 0, 1
    while batch <= most and fits(batch):
        best, batch = batch, 2 * batch
    if not best:
        raise SetupError(
            "--batch auto: one image does not fit into the GPU's memory; expected a smaller --size"
        )
    return best


class Trial:
    """Steps of the training of a config: forward, backward and optimizer, on real images.

    Besides model and optimizer it holds what averaged weights (EMA) take.

    Args:
        cfg: The config. It is not changed.
    """

    def __init__(self, cfg: Config) -> None:
        init_default_scope(cfg.default_scope)
        self.device = torch.device(get_device())
        self.model: Any = MODELS.build(copy.deepcopy(cfg.model)).to(self.device).train()
        self.averaged = copy.deepcopy(self.model)
        self.optimizer = build_optim_wrapper(self.model, copy.deepcopy(cfg.optim_wrapper))
        self.images = DATASETS.build(copy.deepcopy(cfg.train_dataloader.dataset))

    def fits(self, batch: int) -> bool:
        """Whether steps with a batch of so many images leave room in the GPU's memory."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            for step in range(_STEPS):
                chosen = (step * batch + i for i in range(batch))
                self.step([self.images[i % len(self.images)] for i in chosen])
        except torch.OutOfMemoryError:
            return False
        finally:
            self.optimizer.zero_grad()
            gc.collect()
            torch.cuda.empty_cache()
        return self.device.type != "cuda" or self._share() <= 1 - ROOM

    def step(self, images: list[Any]) -> None:
        """One step on a batch of images."""
        self.model.train_step(pseudo_collate(images), self.optimizer)

    def _share(self) -> float:
        """The most memory that was taken, as a share of all there is; with that of others."""
        free, total = torch.cuda.mem_get_info(self.device)
        reserved = torch.cuda.memory_reserved(self.device)
        others = total - free - reserved
        return (others + torch.cuda.max_memory_reserved(self.device)) / total


def batch_for_gpu(cfg: Config, images: int) -> int:
    """The largest batch of a config that fits, of which an epoch has 8 iterations or more.

    Args:
        cfg: The config.
        images: As many as there are to train on.

    Raises:
        SetupError: There is no GPU, there are several processes, or one image does not fit.
    """
    if get_device() != "cuda":
        raise SetupError("--batch auto needs a GPU; expected --batch N, or the recipe's own batch")
    if cfg.launcher != "none":
        raise SetupError(
            "--batch auto in several processes; expected --batch N, for each of them (auto in one "
            "process finds it)"
        )
    trial = Trial(cfg)
    try:
        return largest_batch(trial.fits, max(2, images // 8))
    finally:
        del trial
        gc.collect()
        torch.cuda.empty_cache()
