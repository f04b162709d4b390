"""Train the same recipe with several backbones for the same time, and validate each.

    python -m tools.bench.equal_time data/mine --seconds 180 --seeds 0 1 2

Mask R-CNN for a folder in COCO's format, UperNet for one of index masks: our short recipes, in
which the backbone is replaced by that of the host's own config for Swin-T or ResNet-50. Weights are
random. At 224 px the windows of Hiera and of Swin need no padding.

First each trains for a few iterations, in turn, which shows how long one takes: the minimum of the
rounds' medians. Then each trains for as many as fit into the time, so what else runs on the machine
by then changes no result. Optimizer, learning rate and schedule are the recipe's for all; they were
chosen for none of them on these data.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import mmdet
import mmseg
from mmengine.config import Config

from hiera_dense.data.folders import any_folder
from hiera_dense.recipes import recipe
from tools.bench.trainings import (
    Logged,
    Training,
    marks,
    merge,
    narrowed,
    train,
    train_all,
    validations,
)

RECIPES = {
    "coco": "mask-rcnn_hiera-t_fpn_1xb2-200i_coco-folder",
    "masks": "upernet_hiera-t_1xb4-200i_mask-folder-256x256",
}
HOSTS = {
    ("coco", "swin"): (mmdet, "swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py"),
    ("coco", "resnet"): (mmdet, "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"),
    ("masks", "swin"): (
        mmseg,
        "swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py",
    ),
    ("masks", "resnet"): (mmseg, "upernet/upernet_r50_4xb4-80k_ade20k-512x512.py"),
}
NAMES = {"hiera": "Hiera-T", "swin": "Swin-T", "resnet": "ResNet-50"}
WEIGHTS = ("init_cfg", "pretrained")
UNDECAYED = {"relative_position_bias_table": dict(decay_mult=0.0)}
WARM_UP, COUNTED, ROUNDS = 3, 8, 2

DELTA = """
_base_ = {recipe!r}
factor = {size} / 256
train_pipeline, test_pipeline = [
    [
        dict(step, **{{
            key: tuple(round(side * factor) for side in step[key])
            for key in ('scale', 'crop_size') if key in step
        }}) for step in pipeline
    ] for pipeline in (_base_.train_pipeline, _base_.test_pipeline)
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_iters={iterations}, val_interval={iterations})
first, second = _base_.param_scheduler
begin = max(1, {iterations} // 10)
param_scheduler = [dict(first, end=begin), dict(second, begin=begin, end={iterations})]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval={iterations}))
log_processor = dict(window_size=1)
"""


def swapped(kind: str, name: str) -> dict[str, Any]:
    """What replaces the backbone of a recipe by that of a host's config, without its weights.

    Args:
        kind: Of the data, coco or masks.
        name: Of the contestant.
    """
    host, path = HOSTS[kind, name]
    (place,) = host.__path__
    model = Config.fromfile(Path(place, ".mim", "configs", path)).model.to_dict()
    backbone = {key: value for key, value in model["backbone"].items() if key not in WEIGHTS}
    if name == "resnet":  # random weights: all of it learns, statistics too
        norm = dict(type="BN", requires_grad=True)
        backbone |= dict(frozen_stages=-1, norm_eval=False, norm_cfg=norm)
    parts = ("neck",) if kind == "coco" else ("decode_head", "auxiliary_head")
    channels = {part: dict(in_channels=model[part]["in_channels"]) for part in parts}
    return dict(backbone=dict(backbone, _delete_=True), **channels)


def training(
    args: argparse.Namespace, name: str, iterations: int, seed: int, is_measured: bool = False
) -> Training:
    """The training of a contestant."""
    kind = str(args.kind)
    text = DELTA.format(recipe=recipe(RECIPES[kind]), size=args.size, iterations=iterations)
    arch, _, weights = name.partition("=")
    is_narrow = kind == "coco" and args.channels
    model = narrowed(args.channels) if is_narrow else {}
    if arch != "hiera":
        merge(model, swapped(kind, arch))
        text += f"optim_wrapper = dict(paramwise_cfg=dict(custom_keys={UNDECAYED!r}))\n"
    text += f"model = {model!r}\n"
    if is_measured:
        text += "val_dataloader = val_cfg = val_evaluator = None\n"
        text += "test_dataloader = test_cfg = test_evaluator = None\n"
    options = ["--skip-data-check"]
    if weights:
        options += ["--weights", weights]
    settings = {"randomness.seed": seed, **dict(pair.split("=", 1) for pair in args.options)}
    return Training(text, args.data, options, settings, f"{NAMES[arch]} {weights} seed {seed}")


def seconds_of(logged: Logged) -> float:
    """The median time of an iteration, after those that warm up."""
    times = [float(line["time"]) for line in logged if "loss" in line]
    return statistics.median(times[WARM_UP:])


def paces(args: argparse.Namespace) -> dict[str, float]:
    """Seconds of an iteration, for each contestant: the minimum of the medians of some rounds."""
    found: dict[str, list[float]] = {name: [] for name in args.contestants}
    for _ in range(ROUNDS):
        for name, times in found.items():
            times.append(
                seconds_of(train(training(args, name, WARM_UP + COUNTED, 0, is_measured=True)))
            )
    return {name: min(times) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a folder as `hiera-dense train --data` takes it")
    parser.add_argument("--seconds", type=float, default=180, help="of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=224, help="px, a multiple of 32")
    parser.add_argument(
        "--contestants",
        nargs="+",
        default=list(NAMES),
        help=f"{', '.join(NAMES)}, or hiera=FILE with weights of a masked autoencoder or others",
    )
    parser.add_argument(
        "--channels", type=int, help="of Mask R-CNN's neck and heads; default: the recipe's"
    )
    parser.add_argument(
        "--at-once", type=int, default=1, help="trainings at the same time, after the measurement"
    )
    parser.add_argument(
        "--options", nargs="*", default=[], metavar="KEY=VALUE", help="of all, as --cfg-options"
    )
    args = parser.parse_args()
    args.kind = any_folder(str(args.data))["kind"]
    pace = paces(args)
    steps = {name: int(args.seconds / seconds) for name, seconds in pace.items()}
    for name, seconds in pace.items():
        print(f"{name}: {1000 * seconds:.0f} ms an iteration", flush=True)
    runs = [(name, seed) for seed in args.seeds for name in args.contestants]
    logged = train_all(
        [training(args, name, steps[name], seed) for name, seed in runs],
        args.at_once,
    )
    seeds = ", ".join(map(str, args.seeds))
    print(f"\n{args.data.name}, {args.size} px, {args.seconds:g} s each, seeds {seeds}\n")
    found = {run: marks(validations(lines)[-1]) for run, lines in zip(runs, logged, strict=True)}
    columns = list(next(iter(found.values())))
    print("| backbone | ms of an iteration | iterations | " + " | ".join(columns) + " |")
    print("|---" * (3 + len(columns)) + "|")
    for name in args.contestants:
        cells = [
            " ".join(f"{found[name, seed][column]:.1f}" for seed in args.seeds)
            + f" (mean {statistics.mean(found[name, seed][column] for seed in args.seeds):.1f})"
            for column in columns
        ]
        print(f"| {name} | {1000 * pace[name]:.0f} | {steps[name]} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
