"""What can be known to fail before the first iteration of a training."""

import random
import sys

import numpy as np
import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


def check_channels(runner: Runner) -> None:
    """Compare the channels of the first training image with those that the model takes.

    Raises:
        SystemExit: With a message, where they differ.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
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
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    head = getattr(getattr(model, "network", None), "head", None)
    if head is None:
        return
    train, val = (loader.dataset for loader in (runner.train_dataloader, runner.val_dataloader))
    if train.metainfo != val.metainfo:
        different = set(train.metainfo["classes"]) ^ set(val.metainfo["classes"])
        sys.exit(
            f"training and validation differ in the classes {', '.join(sorted(different)[:5])}"
        )
    if (found := len(train.metainfo["classes"])) != (own := head.projection.out_features):
        sys.exit(f"the data have {found} classes, num_classes is {own}; expected as many")
