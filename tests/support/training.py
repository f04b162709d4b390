"""Configs that train fast, and runs of the commands on them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hiera_dense.cli import evaluate, train
from hiera_dense.data.folders import VARIABLE
from support.common import ROOT
from support.processes import call

DETECTOR = ROOT / "configs/demo/mask-rcnn_hiera-t_fpn_1xb3-200i_toy.py"
SEGMENTER = ROOT / "configs/demo/upernet_hiera-t_1xb4-200i_toy-128x128.py"
MAE = ROOT / "configs/mae/mae_hiera-t_1xb16-1k_image-folder-160x160.py"
CLASSIFIER = ROOT / "configs/classification/classifier_hiera-t_1xb16-200i_class-folder-160x160.py"
TOOLS = {"train.py": train.main, "test.py": evaluate.main}
SHORT = [
    "train_cfg.max_iters=2",
    "train_cfg.val_interval=2",
    "default_hooks.logger.interval=1",
    "randomness.seed=0",
]
DELTA = """
_base_ = '{base}'
dims = [24, 48, 96, 192]
arch = dict(_delete_=True, embed_dim=24, num_heads=1, stages=(1, 2, 3, 2))
model = dict(backbone=dict(arch=arch), {heads})
"""
DELTA_OF_WHOLE_IMAGES = """
_base_ = '{base}'
arch = dict(_delete_=True, embed_dim=24, num_heads=1, stages=(1, 2, 3, 2))
model = dict(arch=arch)
train_dataloader = dict(batch_size=2)
"""
HEADS = {
    "mmdet": "neck=dict(in_channels=dims)",
    "mmseg": "decode_head=dict(in_channels=dims), auxiliary_head=dict(in_channels=96)",
}


Refused = Callable[..., str]  # the fixture `refused`


def environment(data: Path | None) -> dict[str, str]:
    """This process's, with a folder of data named in it or none."""
    env = {key: value for key, value in os.environ.items() if key != VARIABLE}
    return env | ({VARIABLE: str(data)} if data else {})


def run_tool(tool: str | Path, *args: str | Path, data: Path | None = None) -> str:
    """Run train.py or test.py (or any other script, given by its path); returns what it printed.

    Args:
        data: Named in the environment.
    """
    if tool in TOOLS:
        variables = {VARIABLE: str(data) if data else ""}
        return call(TOOLS[tool], list(map(str, args)), variables)
    command = [sys.executable, tool, *args]
    env = environment(data)
    run = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout + run.stderr


def scalars(work_dir: Path) -> list[dict]:
    """What was logged, over all runs in a work dir, oldest first."""
    files = sorted(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def metric_of(host: str) -> str:
    return {"mmdet": "coco/segm_mAP", "mmseg": "mIoU"}[host]


def run_in_process(
    monkeypatch: pytest.MonkeyPatch, main: Callable[[], None], *args: str | Path
) -> None:
    monkeypatch.setattr("sys.argv", ["tool", *map(str, args)])
    main()
