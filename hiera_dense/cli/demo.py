"""Draw data, train and evaluate a detector and a segmenter on it, and show what they see.

It takes about 8 minutes on two CPU cores. Data go to data/toy, all else to work_dirs/demo.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from hiera_dense.cli.parser import ends_with_a_message, make_parser

DATA = Path("data/toy")
WORK = Path("work_dirs/demo")


@dataclass(frozen=True)
class Task:
    """A training of the demo; `metrics` maps names in the log to names in the summary."""

    title: str
    config: str
    data: str
    metrics: dict[str, str]
    perfect: float  # the best possible value in the log


TASKS = (
    Task(
        "Mask R-CNN, Hiera-T",
        "mask-rcnn_hiera-t_fpn_1xb3-200i_toy",
        "instances",
        {"coco/bbox_mAP": "box AP", "coco/segm_mAP": "mask AP"},
        1.0,
    ),
    Task(
        "UperNet, Hiera-T",
        "upernet_hiera-t_1xb4-200i_toy-128x128",
        "segments",
        {"mIoU": "mIoU"},
        100.0,
    ),
)


def run(*command: str | Path) -> None:
    """Run a command of this package with its output shown; a failure ends the demo."""
    print(f"\n$ hiera-dense {' '.join(map(str, command))}", flush=True)
    subprocess.run([sys.executable, "-m", "hiera_dense", *command], check=True)


def percent(task: Task, logged: dict[str, float]) -> dict[str, float]:
    """The metrics of a line of the log."""
    return {name: 100 / task.perfect * logged[key] for key, name in task.metrics.items()}


def train_and_evaluate(task: Task) -> tuple[dict[str, float], dict[str, float]]:
    """Train, then evaluate the best checkpoint and draw its predictions.

    Returns:
        The metrics after one iteration, and those of the best checkpoint.
    """
    work_dir = WORK / task.data
    shutil.rmtree(work_dir, ignore_errors=True)
    data = ("--data", DATA / task.data)
    run("train", task.config, *data, "--work-dir", work_dir)
    best = next(work_dir.glob("best_*.pth"))
    evaluation = work_dir / "evaluation"
    options = ("--work-dir", evaluation, "--show-dir", work_dir / "pictures")
    run("evaluate", task.config, best, *options)
    scalars = next(work_dir.glob("*/vis_data/scalars.json")).read_text().splitlines()
    first = next(line for line in map(json.loads, scalars) if line.keys() >= task.metrics.keys())
    best_logged = json.loads(next(evaluation.glob("*/*.json")).read_text())
    return percent(task, first), percent(task, best_logged)


def join_pictures(images: int = 3) -> Path:
    """One picture of some validation images: a row for each task, truth | prediction in turn."""
    rows = []
    for task in TASKS:
        files = sorted((WORK / task.data / "pictures").rglob("*.png"))[:images]
        pictures = [Image.open(file).convert("RGB") for file in files]
        row = Image.new("RGB", (sum(p.width + 8 for p in pictures), pictures[0].height), "white")
        left = 0
        for picture in pictures:
            row.paste(picture, (left, 0))
            left += picture.width + 8
        rows.append(row)
    sheet = Image.new("RGB", (max(r.width for r in rows), sum(r.height + 8 for r in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + 8
    path = WORK / "pictures.png"
    sheet.save(path)
    return path


@ends_with_a_message
def main() -> None:
    make_parser(__doc__, "").parse_args()
    start = time.monotonic()
    run("draw-data", DATA)
    results = [(task.title, train_and_evaluate(task)) for task in TASKS]
    picture = join_pictures()
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes.")
    for title, (first, best_of) in results:
        for name, value in best_of.items():
            print(f"  {title}: {name} {first[name]:.1f} after 1 iteration, {value:.1f} trained")
    print(
        f"Pictures, truth | prediction: {picture}\n"
        f"  and every validation image in {WORK}/*/pictures/\n"
        "Next: a recipe that `hiera-dense recipes '*-folder*'` lists, on images of your own."
    )
