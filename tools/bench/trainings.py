"""Trainings by `hiera-dense train`, each in its own process, and what they log."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from hiera_dense.recipes import recipe

Logged = list[dict[str, Any]]  # lines of mmengine's scalars.json

MARKS = {
    "coco/bbox_mAP": "box AP",
    "coco/bbox_mAP_50": "box AP50",
    "coco/segm_mAP": "mask AP",
    "coco/segm_mAP_50": "mask AP50",
    "mIoU": "mIoU",
}
SHORT = """
_base_ = {recipe!r}
train_cfg = dict(max_epochs={epochs}, val_interval={interval})
param_scheduler = [
    dict(_base_.warm_up, end=max(1, {epochs} * _base_.choices.iterations // 20)),
    dict(_base_.cosine, end={epochs})
]
custom_hooks = [_base_.average]
default_hooks = dict(checkpoint=dict(interval={epochs}))
train_dataloader = dict(num_workers=1)
model = {model!r}
"""


class Training(NamedTuple):
    """A training.

    Attributes:
        config: The text of its config.
        data: The folder of its data.
        options: Others of `hiera-dense train`, without --cfg-options.
        settings: For --cfg-options.
        name: By which it is told.
    """

    config: str
    data: Path
    options: Sequence[str] = ()
    settings: Mapping[str, object] = {}
    name: str = "training"


def train(training: Training, threads: int | None = None, is_shown: bool = False) -> Logged:
    """Train, in a folder that is removed.

    Args:
        training: What.
        threads: Of torch; None: as torch chooses.
        is_shown: Whether what it prints is.

    Raises:
        RuntimeError: It ended with an error; the last lines that it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        config, run = Path(folder, "config.py"), Path(folder, "run")
        config.write_text(training.config)
        command = [sys.executable, "-m", "hiera_dense", "train", str(config)]
        command += ["--data", str(training.data), "--work-dir", str(run), *training.options]
        if training.settings:
            pairs = (f"{key}={value}" for key, value in training.settings.items())
            command += ["--cfg-options", *pairs]
        environment = dict(os.environ)
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        printed = None if is_shown else subprocess.PIPE
        done = subprocess.run(
            command, env=environment, stdout=printed, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            last = "\n".join((done.stdout or "").splitlines()[-15:])
            raise RuntimeError(f"{training.name} ended with {done.returncode}\n{last}")
        (scalars,) = run.glob("*/vis_data/scalars.json")
        return [json.loads(line) for line in scalars.read_text().splitlines()]


def train_all(trainings: Sequence[Training], at_once: int) -> list[Logged]:
    """Train several, some of them at the same time, each with its part of the cores."""
    threads = max(1, (os.cpu_count() or 1) // at_once)

    def told(training: Training) -> Logged:
        logged = train(training, threads)
        print(f"  {training.name}: {marks(validations(logged)[-1])}", flush=True)
        return logged

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(told, trainings))


def validations(logged: Logged) -> Logged:
    """The lines that tell of a validation."""
    return [line for line in logged if line.keys() & MARKS.keys()]


def marks(validation: Mapping[str, Any]) -> dict[str, float]:
    """AP of boxes and masks, or mIoU, in percent."""
    return {
        name: round(validation[key] * (1 if key == "mIoU" else 100), 1)
        for key, name in MARKS.items()
        if key in validation
    }


def shortened(name: str, epochs: int, interval: int, channels: int | None = None) -> str:
    """A recipe for own data that trains for some epochs, without an early end.

    Args:
        name: Of the recipe.
        epochs: How many.
        interval: Epochs between validations.
        channels: Of neck and heads; None: the recipe's.
    """
    model: dict[str, Any] = {}
    if channels and name.startswith("upernet"):
        heads = ("decode_head", "auxiliary_head")
        model = {head: dict(channels=channels) for head in heads}
    elif channels:
        model = narrowed(channels)
        if not name.startswith("mask"):
            del model["roi_head"]["mask_roi_extractor"], model["roi_head"]["mask_head"]
    return SHORT.format(recipe=recipe(name), epochs=epochs, interval=interval, model=model)


def narrowed(channels: int) -> dict[str, Any]:
    """What gives a Mask R-CNN fewer channels in its neck and heads, to spare a CPU."""
    boxes = dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(
            in_channels=channels, conv_out_channels=channels, fc_out_channels=4 * channels
        ),
    )
    masks = dict(
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(in_channels=channels, conv_out_channels=channels),
    )
    return dict(
        neck=dict(out_channels=channels),
        rpn_head=dict(in_channels=channels, feat_channels=channels),
        roi_head=dict(boxes, **masks),
    )


def merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Put settings into others, level by level."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
