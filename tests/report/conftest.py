"""Runs of small models with random weights, as a training leaves them, and data that fit them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.saved import FOLDERS, save, small_config

from hiera_dense.predict.predictor import Predictor


def log_of(host: str) -> list[dict[str, Any]]:
    """A few lines, as mmengine logs them."""
    steps = [
        dict(lr=1e-3 / i, base_lr=1e-3 / i, loss=2.0 / i, loss_cls=1.0 / i, iter=i, step=i)
        for i in range(1, 6)
    ]
    metrics: dict[str, Any] = {"coco/bbox_mAP": 0.25, "coco/bbox_mAP_s": -1.0}
    return [*steps, (metrics if host == "mmdet" else dict(mIoU=12.5, aAcc=40.0)) | dict(step=5)]


def write_run(folder: Path, host: str, data: Path, spread: float) -> Path:
    """A run of a host on a folder of data; returns its folder."""
    folder.mkdir(parents=True)
    cfg = small_config(host, folder.parent, data)
    if host == "mmdet":  # fast
        cfg.model.test_cfg.rpn.update(nms_pre=100, max_per_img=60)
        cfg.model.test_cfg.rcnn.update(max_per_img=40)
    save(cfg, folder / "best_metric_iter_5.pth", spread=spread)
    cfg.dump(folder / f"{host}.py")
    log = folder / "20260101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text("".join(json.dumps(line) + "\n" for line in log_of(host)))
    return folder


def agree_with(run: Path, data: Path) -> None:
    """Make the truth of the validation half of what a model finds, changed here and there.

    So a model with random weights has an AP that is neither 0 nor 100.
    """
    path = data / "instances_val.json"
    content = json.loads(path.read_text())
    ids = {category["name"]: category["id"] for category in content["categories"]}
    predictor = Predictor(run, score=0, device="cpu")
    rng = np.random.default_rng(0)
    annotations = []
    for image in content["images"]:
        found = predictor(data / "val" / image["file_name"])
        for entry in found.to_coco(image["id"], ids)[::3]:
            if entry["area"] < 20:
                continue
            other = int(rng.choice(list(ids.values())))
            label = other if rng.random() < 0.2 else entry["category_id"]
            number = len(annotations) + 1
            kept = {key: entry[key] for key in ("image_id", "bbox", "area", "segmentation")}
            annotations.append(kept | dict(id=number, category_id=label, iscrowd=0))
    content["annotations"] = annotations
    path.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> dict[str, Path]:
    """A run of each host; its data are in `data/` beside it."""
    found = {}
    for host, name in FOLDERS.items():
        folder = tmp_path_factory.mktemp(host)
        shutil.copytree(toy / name, folder / "data")
        found[host] = write_run(folder / "run", host, folder / "data", 0.02)
    agree_with(found["mmdet"], found["mmdet"].parent / "data")
    return found


@pytest.fixture
def copied(runs: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a run that a test may change; the checkpoint is a link."""

    def of(host: str) -> Path:
        run = tmp_path / host
        shutil.copytree(runs[host], run, copy_function=lambda a, b: Path(b).symlink_to(a))
        return run

    return of
