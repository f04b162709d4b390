"""What can be known to fail before the first iteration of a training."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner

from hiera_dense.errors import SetupError
from hiera_dense.mm.building import unknown_type
from hiera_dense.mm.class_checks import check_classes
from hiera_dense.mm.float32 import EXACT
from hiera_dense.mm.launch import model_of
from hiera_dense.mm.metric_checks import check_best, check_metrics
from hiera_dense.mm.model_checks import check_model
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.mae import MaskedAutoencoder

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
    if any(str(hook.get("type")).endswith("EMAHook") for hook in cfg.get("custom_hooks") or []):
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
    if "bfloat16" not in dtypes:
        return
    for module in model_of(runner).modules():
        kind = type(module).__name__
        if kind == "MultiScaleDeformableAttention":
            raise SetupError(
                f"bfloat16: mmcv's {kind} has no such kernel; expected float16 or float32"
            )
        if kind in EXACT or (hasattr(module, "roi_layers") and kind not in EXACT.values()):
            exact = EXACT.get(kind, EXACT["SingleRoIExtractor"])
            raise SetupError(
                f"bfloat16: {kind} rounds boxes to it, and mmcv has no kernel for these; expected "
                f"type='hiera_dense.{exact}'"
            )


def check_training(runner: Runner) -> None:
    """Look at what a runner has built, before it trains.

    Raises:
        SetupError: where its parts do not fit each other.
    """
    model = model_of(runner)
    check_dtype(runner)
    _check_optimizer(runner.cfg.optim_wrapper.get("optimizer") or {})
    check_model(model, runner.cfg.model)
    batch = runner.cfg.train_dataloader.get("batch_size", 1)
    if getattr(model, "mixup", None) is not None and batch % 2:
        raise SetupError(f"mixup of train_dataloader.batch_size {batch}; expected an even number")
    datasets = {"training": runner.train_dataloader.dataset}
    if runner.val_loop is not None:
        datasets["validation"] = runner.val_dataloader.dataset
    _check_data(model, datasets)
    check_best(runner, model)


def _check_optimizer(cfg: ConfigDict) -> None:
    """mmengine asks an optimizer that it does not know for its arguments."""
    with OPTIMIZERS.switch_scope_and_registry(None) as registry:
        if isinstance(name := cfg.get("type"), str) and registry.get(name) is None:
            raise SetupError(unknown_type(name, registry))


def check_evaluation(runner: Runner) -> None:
    """Look at what a runner has built, before it evaluates.

    Raises:
        SetupError: where its parts do not fit each other.
    """
    model = model_of(runner)
    check_model(model, runner.cfg.model.get("module", runner.cfg.model))
    _check_data(model, {"test": runner.test_dataloader.dataset})
    check_metrics(runner.test_evaluator, model)


def _check_data(model: Any, datasets: dict[str, Any]) -> None:
    check_classes(model, datasets)
    for name, dataset in datasets.items():
        _check_images(model, name, dataset)


def _check_images(model: Any, name: str, dataset: Any) -> None:
    """Compare the first image of a data set with those that one of our models takes."""
    place = "backbone." if hasattr(model, "backbone") else ""
    trunk = getattr(getattr(model, "backbone", None), "trunk", getattr(model, "network", None))
    if not isinstance(trunk, Hiera):
        return
    expected = trunk.in_channels
    mean = getattr(model.data_preprocessor, "mean", None)
    if mean is not None and len(mean) not in (1, expected):
        raise SetupError(
            f"data_preprocessor.mean and std have {len(mean)} values, {place}in_channels is "
            f"{expected}; expected as many"
        )
    image = _first_image(dataset)
    if not isinstance(image, torch.Tensor):  # several views of it
        return
    axes = len(trunk.arch.mask_unit)
    if image.ndim != axes + 1:
        kind = "clips (C, T, H, W)" if axes == 3 else "images (C, H, W)"
        raise SetupError(
            f"{place}arch is one for {kind}, the first {name} image has the shape "
            f"{tuple(image.shape)}; expected an arch for images of {image.ndim - 1} axes"
        )
    if len(image) != expected:
        raise SetupError(
            f"the first {name} image has {len(image)} channels, {place}in_channels is {expected}; "
            "expected as many (detectors and segmenters read images with LoadImageFromFile, see "
            "its imdecode_backend and color_type; whole images are read as RGB)"
        )
    if isinstance(trunk, MaskedAutoencoder):
        ratio = trunk.default_mask_ratio if model.mask_ratio is None else model.mask_ratio
        try:
            trunk.get_random_mask(image[None], ratio)
        except ValueError as error:
            raise SetupError(f"the first {name} image: {error}") from error


def _first_image(dataset: Any) -> Any:
    """The first image of a data set; later ones are drawn as if nobody had looked at it."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        image = dataset[0]["inputs"]
    random.setstate(states[0])
    np.random.set_state(states[1])
    return image
