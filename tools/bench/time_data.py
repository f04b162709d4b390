"""Time the data of a recipe's training, step by step, on one core, with drawn images.

Images have the size of COCO's or ADE20K's. Contestants take turns, each in its own process: the
recipe, and the same with mmdet's own instance masks (`LoadAnnotations` of mmdet). `to the training`
is what the loader's process and the training's do to hand an image over, and `batch` what
the training's process does then, before the images go to the device. Times are of the processor.
"""

import argparse
import pickle
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from PIL import Image

from hiera_dense.recipes import recipe
from tools.bench.measure import Job, Worker, alternate
from tools.bench.time_check import draw

RECIPES = (
    "mask-rcnn_hiera-t_fpn_8xb8-amp-lsj-100e_coco",
    "mask-rcnn_hiera-t_fpn_8xb2-amp-ms-3x_coco",
    "mask2former_hiera-t_8xb2-lsj-50e_coco",
    "upernet_hiera-t_8xb2-amp-160k_ade20k-512x512",
)
OURS, THEIRS = "recipe", "mmdet's masks"
HANDED, BATCH = "to the training", "batch"


def draw_masks(folder: Path, images: int, objects: int) -> None:
    """Write noisy JPEGs of 683 x 512 px, and index masks with discs of ADE20K's classes."""
    rng = np.random.default_rng(0)
    for kind in ("images", "annotations"):
        (folder / kind / "training").mkdir(parents=True)
    for number in range(images):
        coarse = rng.integers(0, 255, (64, 85, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((683, 512), Image.Resampling.BICUBIC)
        picture.save(folder / "images" / "training" / f"{number}.jpg", quality=90)
        mask = np.full((512, 683), int(rng.integers(1, 151)), np.uint8)
        for _ in range(objects):
            middle = (int(rng.integers(683)), int(rng.integers(512)))
            cv2.circle(mask, middle, int(rng.integers(10, 150)), int(rng.integers(1, 151)), -1)
        Image.fromarray(mask).save(folder / "annotations" / "training" / f"{number}.png")


def jobs(name: str, way: str, folder: Path, images: int) -> dict[str, Job]:
    """What a process does for a contestant: milliseconds of an image, by step."""
    cv2.setNumThreads(0)
    cfg = Config.fromfile(recipe(name))
    init_default_scope(cfg.default_scope)
    settings = cfg.train_dataloader.dataset
    settings.data_root = str(folder)
    if cfg.default_scope == "mmdet":
        settings.update(ann_file="instances_train.json", data_prefix=dict(img="train"))
        settings.metainfo = dict(classes=("disc",))
    if way == THEIRS:
        settings.pipeline[1].type = "LoadAnnotations"
    data = DATASETS.build(settings)
    return {"steps": partial(steps, data, MODELS.build(cfg.model.data_preprocessor), images)}


def steps(data: Any, preprocessor: Any, images: int) -> dict[str, float]:
    """Milliseconds of an image, by step; the same random numbers in each run."""
    np.random.seed(0)
    random.seed(0)
    spent: dict[str, float] = {}

    def timed(name: str, step: Callable[[Any], Any], value: Any) -> Any:
        start = time.process_time()
        value = step(value)
        spent[name] = spent.get(name, 0) + 1000 * (time.process_time() - start) / images
        return value

    for index in range(images):
        sample = data.get_data_info(index % len(data))
        for step in data.pipeline.transforms:
            # The same name for all ways, of mmdet's class or of ours.
            name = type(step).__name__.replace("LoadCroppedMasks", "LoadAnnotations")
            sample = timed(name, step, sample)
        sample = timed(HANDED, lambda value: pickle.loads(pickle.dumps(value)), sample)
        batch = {key: [value] for key, value in sample.items()}
        timed(BATCH, lambda value: preprocessor(value, training=True), batch)
        for known in getattr(sample["data_samples"], "gt_instances", {}).get("masks", ()):
            timed(BATCH, np.asarray, known)  # masks are read whole by the losses
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--images", type=int, default=50, help="in a run")
    parser.add_argument("--objects", type=int, default=8, help="in each image")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, args.images + args.images // 9, args.objects)
        draw_masks(folder, args.images, args.objects)
        for each in args.recipes:
            _print(each, _measure(each, folder, args.images, args.runs))


def _measure(name: str, folder: Path, images: int, runs: int) -> dict[str, dict[str, float]]:
    ways = (OURS, THEIRS) if "coco" in name else (OURS,)
    workers = {way: Worker(jobs, name, way, folder, images, threads=1) for way in ways}
    try:
        asked = {way: partial(worker.result, "steps") for way, worker in workers.items()}
        measured = alternate(asked, runs)
    finally:
        for worker in workers.values():
            worker.stop()
    return {
        way: {step: min(run[step] for run in found) for step in found[0]}
        for way, found in measured.items()
    }


def _print(name: str, measured: dict[str, dict[str, float]]) -> None:
    ours = measured[OURS]
    print(f"\n{name}, ms of an image\n\n| step | {' | '.join(measured)} |")
    print("|---|" + "---|" * len(measured))
    for step in ours:
        print(
            f"| {step} | " + " | ".join(f"{found[step]:.1f}" for found in measured.values()) + " |"
        )
    loaders = [
        sum(v for k, v in found.items() if k not in (HANDED, BATCH)) for found in measured.values()
    ]
    print("| images per second and core, reading and transforms | ", end="")
    print(" | ".join(f"{1000 / each:.0f}" for each in loaders) + " |")


if __name__ == "__main__":
    main()
