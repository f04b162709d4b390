"""Train a small segmenter on crops of one size, evaluate it at others with each way of resizing.

Writes a table, a plot of the score against resolution, a picture of the position embedding, and the
numbers: positions.{md,png,json} and positions-channels.png.
"""

import argparse
import json
import os
import statistics
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from hiera_dense.data.folders import VARIABLE
from hiera_dense.data.toy import write_split
from hiera_dense.mm.safe_loading import refuse_code
from hiera_dense.model import pos_embed as positions
from hiera_dense.weights import files
from hiera_dense.weights.layouts import recognise
from hiera_dense.weights.state_dicts import choose

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs/study/segformer-head_hiera-xs_1xb8-600i_mask-folder-128x128.py"
METHODS = ("window_aware", "tile", "interpolate")
NONE = "no positions"  # the control: a table of zeros
# Attention of stages 3 and 4 at evaluation. The windows are as large as the grids of the training,
# as HieraDet's are: at that size both are the same network.
PLANS = {"global": (8, 4, 0, 0), "windows": (8, 4, 8, 4)}
SCALES = (0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
SIDE, UNIT = 128, (8, 8)
Scores = dict[str, dict[float, list[float]]]  # plan and method, scale, one for each seed


def load(work_dir: Path, seed: int) -> Config:
    """The config of the study for one seed, quiet."""
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir, cfg.randomness = str(work_dir / f"seed{seed}"), dict(seed=seed)
    cfg.log_level = "WARNING"
    return cfg


def train(work_dir: Path, seed: int) -> Path:
    """Train with one seed, and give the checkpoint."""
    cfg = load(work_dir, seed)
    Runner.from_cfg(cfg).train()
    return Path(cfg.work_dir) / f"iter_{cfg.train_cfg.max_iters}.pth"


def without_positions(checkpoint: Path) -> Path:
    """A copy of a checkpoint whose position table is zero."""
    state = choose(files.read(checkpoint)[0]).state
    state["backbone.trunk.pos_embed"].zero_()
    copy = checkpoint.with_name("no_positions.pth")
    torch.save({"state_dict": state, "meta": {}}, copy)
    return copy


def evaluate(work_dir: Path, seed: int, checkpoint: Path, name: str, side: int) -> float:
    """The mIoU, in percent, on images of about `side` x `side` pixels."""
    plan, method = name.split(", ")
    cfg = load(work_dir, seed)
    cfg.load_from = str(checkpoint)
    cfg.model.backbone.window_spec = PLANS[plan]
    cfg.model.backbone.pos_embed.resize = METHODS[0] if method == NONE else method
    resize = next(step for step in cfg.test_dataloader.dataset.pipeline if step.type == "Resize")
    resize.scale = (side, side)
    return float(Runner.from_cfg(cfg).test()["mIoU"])


def table_of(checkpoint: Path) -> Tensor:
    """The position table of a run, shape (1, side, side, C)."""
    table = recognise(choose(files.read(checkpoint)[0]).state).trunk["pos_embed"]
    side = round(table.shape[1] ** 0.5)
    return table.reshape(1, side, side, -1)


def shares(table: Tensor) -> tuple[float, float, float]:
    """What part of a table's variance its window part, global part and rest make up, in percent."""
    window, means, rest = positions.split(table, UNIT)
    whole = (table - table.mean((1, 2))).square().mean()
    window = window - window.mean((1, 2))
    parts = [100 * float(part.square().mean() / whole) for part in (window, means, rest)]
    return parts[0], parts[1], parts[2]


def ahead(scores: Scores) -> Scores:
    """How far each way is ahead of interpolation of the whole table, seed by seed."""
    differences: Scores = {}
    for name, of_scale in scores.items():
        base = scores[f"{name.split(', ')[0]}, interpolate"]
        differences[name] = {
            scale: [a - b for a, b in zip(values, base[scale], strict=True)]
            for scale, values in of_scale.items()
        }
    return differences


def markdown(title: str, scores: Scores, number: str = ".1f") -> str:
    """Scores as a table: mean and standard deviation over the seeds."""
    lines = [f"| {title} | " + " | ".join(f"{scale:g}x" for scale in SCALES) + " |"]
    lines.append("|---" * (len(SCALES) + 1) + "|")
    for name, of_scale in scores.items():
        cells = [f"{statistics.mean(v):{number}} ({deviation(v):.1f})" for v in of_scale.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def deviation(values: list[float]) -> float:
    """The standard deviation; of one value, 0."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def plot(scores: Scores, out: Path) -> None:
    """Score against resolution, and below it how far each way is ahead of interpolation."""
    figure, axes = plt.subplots(2, len(PLANS), figsize=(10, 7), sharex=True, sharey="row")
    for column, plan in enumerate(PLANS):
        for row, kind in zip(axes[:, column], (scores, ahead(scores)), strict=True):
            row.grid(alpha=0.3)
            for method in (*METHODS, NONE):
                values = kind[f"{plan}, {method}"]
                means = [statistics.mean(of_seeds) for of_seeds in values.values()]
                bars = [deviation(of_seeds) for of_seeds in values.values()]
                row.errorbar(list(values), means, bars, marker="o", capsize=3, label=method)
        axes[0, column].set_title(f"stages 3 and 4 at evaluation: {plan}")
        axes[1, column].set_xlabel(f"image size, in sizes of the training ({SIDE} px)")
    axes[0, 0].set_ylabel("mIoU (%)")
    axes[1, 0].set_ylabel("difference to interpolate, seed by seed")
    axes[0, 0].legend()
    figure.savefig(out, dpi=90, bbox_inches="tight")
    plt.close(figure)


def picture(table: Tensor, out: Path, channels: int = 3, grid: int = 80) -> None:
    """The channels that vary most: the table, then what each way makes of it."""
    most = table.var((1, 2))[0].argsort(descending=True)[:channels]
    columns = {f"trained, {table.shape[1]} x {table.shape[2]}": table}
    for method in METHODS:
        resized = positions.resize(table, (grid, grid), UNIT, method)
        columns[f"{method}, {grid} x {grid}"] = resized
    figure, axes = plt.subplots(
        channels, len(columns), figsize=(2.6 * len(columns), 2.6 * channels), squeeze=False
    )
    for cell, title in zip(axes[0], columns, strict=True):
        cell.set_title(title, fontsize=9)
    for row, channel in zip(axes, most, strict=True):
        limit = float(table[..., channel].abs().max())
        for cell, values in zip(row, columns.values(), strict=True):
            cell.imshow(np.asarray(values[0, :, :, channel]), cmap="RdBu", vmin=-limit, vmax=limit)
            cell.set_xticks([])
            cell.set_yticks([])
        row[0].set_ylabel(f"channel {int(channel)}")
    figure.savefig(out, dpi=100, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="images and index masks (docs/own-data.md); without it, drawn data",
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings (default: 3)")
    parser.add_argument(
        "--work-dir", type=Path, default=ROOT / "work_dirs/positions", help="runs and results"
    )
    args = parser.parse_args()
    refuse_code()
    data = args.data
    if data is None:
        for split, images, seed in (("train", 200, 0), ("val", 24, 1)):
            write_split(args.work_dir / "data", split, images, 320, seed)
        data = args.work_dir / "data/segments"
    os.environ[VARIABLE] = str(data)
    checkpoints = [train(args.work_dir, seed) for seed in range(args.seeds)]
    zeroed = [without_positions(checkpoint) for checkpoint in checkpoints]
    scores: Scores = {
        f"{plan}, {method}": {
            scale: [
                evaluate(args.work_dir, seed, checkpoint, f"{plan}, {method}", round(SIDE * scale))
                for seed, checkpoint in enumerate(zeroed if method == NONE else checkpoints)
            ]
            for scale in SCALES
        }
        for plan in PLANS
        for method in (*METHODS, NONE)
    }
    tables = [table_of(checkpoint) for checkpoint in checkpoints]
    parts = [statistics.mean(values) for values in zip(*map(shares, tables), strict=True)]
    others = {k: v for k, v in ahead(scores).items() if not k.endswith(", interpolate")}
    shared = "{:.0f} % window part, {:.0f} % global part, {:.0f} % rest".format(*parts)
    paragraphs = (
        markdown("mIoU: stages 3 and 4, resize", scores),
        markdown("difference to interpolate, seed by seed", others, "+.1f"),
        f"Variance of the trained tables: {shared}.",
    )
    summary = "\n\n".join(paragraphs) + "\n"
    (args.work_dir / "positions.md").write_text(summary)
    (args.work_dir / "positions.json").write_text(json.dumps(scores, indent=1))
    plot(scores, args.work_dir / "positions.png")
    with torch.no_grad():
        picture(tables[0], args.work_dir / "positions-channels.png")
    print(f"{summary}\nwritten to {args.work_dir}/positions*")


if __name__ == "__main__":
    main()
