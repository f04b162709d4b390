"""What can be known to fail before the first iteration of a training."""

import random
import sys
from typing import Any

import numpy as np
import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader


def check_channels(runner: Runner) -> None:
    """Compare the channels of the first training image with those that the model takes.

    Raises:
        SystemExit: With a message, where they differ.
    """
    model = _model_of(runner)
    name = "backbone.in_channels" if hasattr(model, "backbone") else "in_channels"
    trunk = getattr(getattr(model, "backbone", None), "trunk", getattr(model, "network", None))
    expected = getattr(trunk, "in_channels", None)
    if expected is None:
        return
    mean = getattr(model.data_preprocessor, "mean", None)
    if mean is not None and len(mean) not in (1, expected):
        sys.exit(
            f"data_preprocessor.mean and std have {len(mean)} values, {name} is {expected}; "
            "expected as many"
        )
    # The training itself shall draw the same random numbers as without this look at its data.
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        image = runner.train_dataloader.dataset[0]["inputs"]
    random.setstate(states[0])
    np.random.set_state(states[1])
    if len(image) != expected:
        sys.exit(
            f"the first training image has {len(image)} channels, {name} is {expected}; expected "
            "as many (detectors and segmenters read images with LoadImageFromFile, see its "
            "imdecode_backend and color_type; whole images are read as RGB)"
        )


def check_classes(runner: Runner) -> None:
    """Compare the classes of a classifier's training and validation data with its own.

    Raises:
        SystemExit: With a message, where they differ.
    """
    head = getattr(getattr(_model_of(runner), "network", None), "head", None)
    classes = _classes_of(runner.train_dataloader)
    if head is None or classes is None:
        return
    others = _classes_of(runner.val_dataloader) if runner.val_loop else None
    if others is not None and others != classes:
        different = set(classes) ^ set(others)
        sys.exit(
            f"training and validation differ in the classes {', '.join(sorted(different)[:5])}"
        )
    if (found := len(classes)) != (own := head.projection.out_features):
        sys.exit(f"the data have {found} classes, num_classes is {own}; expected as many")


def _model_of(runner: Runner) -> Any:
    """The model itself, also where it trains in several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _classes_of(loader: DataLoader[Any]) -> tuple[str, ...] | None:
    """The classes of a data set, where it tells them."""
    classes: tuple[str, ...] | None = getattr(loader.dataset, "metainfo", {}).get("classes")
    return classes
