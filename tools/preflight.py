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
    trunk = getattr(getattr(model, "backbone", None), "trunk", getattr(model, "network", None))
    expected = getattr(trunk, "in_channels", None)
    if expected is None:
        return
    mean = getattr(model.data_preprocessor, "mean", None)
    if mean is not None and len(mean) not in (1, expected):
        sys.exit(
            f"data_preprocessor.mean and std have {len(mean)} values, backbone.in_channels is "
            f"{expected}; expected as many"
        )
    # The training itself shall draw the same random numbers as without this look at its data.
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        image = runner.train_dataloader.dataset[0]["inputs"]
    random.setstate(states[0])
    np.random.set_state(states[1])
    if len(image) != expected:
        sys.exit(
            f"the first training image has {len(image)} channels, backbone.in_channels is "
            f"{expected}; expected as many (the reading of images: imdecode_backend and color_type "
            "of LoadImageFromFile)"
        )
