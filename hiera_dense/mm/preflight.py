"""What can be known to fail before the first iteration of a training."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from hiera_dense.errors import SetupError

FSDP = "hiera_dense.FSDPStrategy"


def check_engine(cfg: Config) -> None:
    """Look whether the way that a config trains in can do what else the config asks for.

    mmengine says nothing, or much later, where it cannot.

    Raises:
        SetupError: where it cannot.
    """
    wrapper = cfg.optim_wrapper
    if wrapper.get("type") == "AmpOptimWrapper" and get_device() == "cpu":
        raise SetupError(
            "AmpOptimWrapper needs a GPU; expected --cfg-options optim_wrapper.type=OptimWrapper, "
            "without --amp"
        )
    kind, runner = cfg.get("strategy", {}).get("type"), cfg.get("runner_type")
    if kind is None and runner is None:
        return
    if kind != FSDP or runner != "FlexibleRunner":
        raise SetupError(
            f"runner_type {runner!r} with the strategy {kind!r}; expected neither, or "
            f"'FlexibleRunner' with {FSDP!r} (configs/_base_/strategies)"
        )
    if cfg.launcher == "none":
        raise SetupError(
            f"{kind} needs several processes; expected torchrun -m hiera_dense train CONFIG, or "
            "--launcher slurm"
        )
    if any(str(hook.get("type")).endswith("EMAHook") for hook in cfg.get("custom_hooks", [])):
        raise SetupError(f"{kind}: EMAHook copies whole weights, of which a process holds a share")
    _check_fsdp(wrapper)


def _check_fsdp(wrapper: ConfigDict) -> None:
    clip = wrapper.get("clip_grad") or {}
    if clip.get("type", "norm") == "norm" and clip:
        raise SetupError(
            f"{FSDP}: clip_grad={dict(clip)} would take the norm of the share that a process "
            "holds; expected clip_grad=None, or dict(type='value', clip_value=...)"
        )
    if wrapper.get("constructor") == "hiera_dense.LayerDecayOptimWrapperConstructor":
        raise SetupError(
            f"{FSDP}: layer decay tells matrices by their shape, and shares have none; expected "
            "no constructor, with paramwise_cfg as in configs/_base_/schedules/adamw_step_100e.py"
        )


def check_dtype(runner: Runner) -> None:
    """Compare the dtype of a training with what its model has.

    Raises:
        SetupError: where mmcv has no operator for it.
    """
    strategy = runner.cfg.get("strategy", {})
    dtypes = (
        runner.cfg.optim_wrapper.get("dtype"),
        strategy.get("model_wrapper", {}).get("mixed_precision", {}).get("param_dtype"),
    )
    names = {type(module).__name__ for module in _model_of(runner).modules()}
    lacking = sorted(names & {"RoIAlign", "MultiScaleDeformableAttention"})
    if "bfloat16" in dtypes and lacking:
        raise SetupError(
            f"bfloat16: mmcv's {lacking[0]} does not have it; expected float16, or float32"
        )


def check_channels(runner: Runner) -> None:
    """Compare the channels of the first training image with those that the model takes.

    Raises:
        SetupError: where they differ.
    """
    model = _model_of(runner)
    name = "backbone.in_channels" if hasattr(model, "backbone") else "in_channels"
    trunk = getattr(getattr(model, "backbone", None), "trunk", getattr(model, "network", None))
    expected = getattr(trunk, "in_channels", None)
    if expected is None:
        return
    mean = getattr(model.data_preprocessor, "mean", None)
    if mean is not None and len(mean) not in (1, expected):
        raise SetupError(
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
        raise SetupError(
            f"the first training image has {len(image)} channels, {name} is {expected}; expected "
            "as many (detectors and segmenters read images with LoadImageFromFile, see its "
            "imdecode_backend and color_type; whole images are read as RGB)"
        )


def check_classes(runner: Runner) -> None:
    """Compare the classes of a classifier's training and validation data with its own.

    Raises:
        SetupError: where they differ.
    """
    head = getattr(getattr(_model_of(runner), "network", None), "head", None)
    classes = _classes_of(runner.train_dataloader)
    if head is None or classes is None:
        return
    others = _classes_of(runner.val_dataloader) if runner.val_loop else None
    if others is not None and others != classes:
        different = set(classes) ^ set(others)
        raise SetupError(
            f"training and validation differ in the classes {', '.join(sorted(different)[:5])}"
        )
    if (found := len(classes)) != (own := head.projection.out_features):
        raise SetupError(f"the data have {found} classes, num_classes is {own}; expected as many")


def _model_of(runner: Runner) -> Any:
    """The model itself, also where it trains in several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _classes_of(loader: DataLoader[Any]) -> tuple[str, ...] | None:
    """The classes of a data set, where it tells them."""
    classes: tuple[str, ...] | None = getattr(loader.dataset, "metainfo", {}).get("classes")
    return classes
