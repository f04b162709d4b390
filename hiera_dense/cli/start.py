"""The options of `train` that say what a run begins with: `--weights`, `--size` and `--batch`."""

import argparse
from contextlib import redirect_stdout
from pathlib import Path

import torch
from mmengine.config import Config

from hiera_dense.cli.options import load_config, start_in
from hiera_dense.data.choices import Choices, Given, lines
from hiera_dense.errors import SetupError
from hiera_dense.mm.batch import batch_for_gpu
from hiera_dense.mm.record import Start
from hiera_dense.mm.start_weights import NONE, set_weights, weights_in
from hiera_dense.weights.download import understand

AUTO = "auto"


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--weights",
        metavar="NAME|FILE|none",
        help="what the backbone starts from: a name that `hiera-dense weights` lists, a file, or "
        "none for random weights (default: what the config says)",
    )
    parser.add_argument(
        "--size",
        type=int,
        metavar="PX",
        help="longer side of the images, a multiple of 32; for recipes named *-own-data "
        "(default: follows the images, 640 to 1024)",
    )
    parser.add_argument(
        "--batch",
        type=_batch,
        metavar="N|auto",
        help="images of an iteration on each GPU; auto tries which is the largest that fits; for "
        "recipes named *-own-data (default: 2 to 8, by the number of images)",
    )


def _batch(text: str) -> int | str:
    if text == AUTO:
        return text
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text}; expected a number, 1 or more, or {AUTO}")
    return int(text)


def load_start(args: argparse.Namespace, run: Path | None) -> Config:
    """The config with what a run begins with; of a run that goes on, with what it began with.

    Args:
        args: Of `train`.
        run: The folder of the run that goes on, if one does.

    Raises:
        SetupError: An option is for other recipes, or is not what the run began with.
        FileNotFoundError: `--weights` is no file.
        CheckpointError: `--weights` is no name, file, URL or hub id.
    """
    if args.weights not in (None, NONE):
        understand(args.weights)  # before data are read for nothing
    start = start_in(run, args.config)
    is_random = args.weights == NONE

    def prepare(cfg: Config) -> None:
        if start:
            set_weights(cfg, start.weights)
        elif args.weights:
            set_weights(cfg, None if is_random else args.weights)
        is_amp = start.is_amp if start else "choices" in cfg and torch.cuda.is_available()
        if is_amp and "optim_wrapper.type" not in (args.cfg_options or {}):
            use_amp(cfg)

    if start:
        _refuse_others(args, start)
        return load_config(args, run, prepare=prepare)
    fixed = args.batch if isinstance(args.batch, int) else None
    cfg = load_config(args, run, Given(args.size, fixed, is_random), prepare)
    if "choices" not in cfg:
        for name in ("size", "batch"):
            if (value := getattr(args, name)) is not None:
                raise SetupError(
                    f"--{name} {value}: {args.config} does not support --{name}; expected a recipe "
                    "named *-own-data, or --cfg-options"
                )
    if args.batch == AUTO:
        batch = batch_for_gpu(cfg, cfg.choices.images)
        with redirect_stdout(None):
            return load_config(args, run, Given(args.size, batch, is_random), prepare)
    return cfg


def use_amp(cfg: Config) -> None:
    """Let a config train in mixed precision."""
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.setdefault("loss_scale", "dynamic")


def _refuse_others(args: argparse.Namespace, start: Start) -> None:
    """Refuse options that are not what a run began with."""
    had = {
        "size": start.choices["size"],
        "batch": start.choices["batch"],
        "weights": start.weights or NONE,
    }
    for name, value in had.items():
        wanted = getattr(args, name)
        if wanted not in (None, AUTO, value):
            raise SetupError(
                f"--{name} {wanted} with --resume: the run began with {value}; expected that, or "
                f"no --{name}"
            )


def tell_start(cfg: Config, report: str | None) -> None:
    """Print what a recipe for own data has chosen, and what a config of it says instead.

    Args:
        cfg: The config.
        report: Of the weights.
    """
    if "choices" not in cfg:
        if report:
            print(report)
        return
    print("settings of this run:")
    for line in lines(_as_set(cfg), cfg.own_data.classes):
        print(f"  {line}")
    precision = "mixed precision" if cfg.optim_wrapper.type == "AmpOptimWrapper" else "float32"
    print(f"  precision: {precision}")
    hooks = cfg.get("custom_hooks") or []
    stops = [hook for hook in hooks if hook.type == "hiera_dense.EarlyStopping"]
    is_average = any(hook.type == "EMAHook" for hook in hooks)
    for hook in stops:
        print(
            f"  ends early: if {hook.monitor}{' of the averaged weights (EMA)' * is_average} does "
            f"not rise by {hook.min_delta:g} in {hook.patience} validations, after "
            f"{hook.begin:.0%} of the epochs"
        )
    weights = weights_in(cfg.model)
    if report:
        print("  weights: " + report.replace("\n", "\n  "))
    elif not cfg.get("resume"):
        print(f"  weights: {weights or 'none, random'}")


def _as_set(cfg: Config) -> Choices:
    """What was chosen, with the values that a config or `--cfg-options` put in its place."""
    chosen: Choices = cfg.choices.to_dict()
    batch, lr = cfg.train_dataloader.batch_size, cfg.optim_wrapper.optimizer.get("lr")
    schedules = cfg.get("param_scheduler") or []
    first = schedules[0] if isinstance(schedules, list) and schedules else {}
    is_warm_up = first.get("type") == "LinearLR" and not first.get("by_epoch", True)
    chosen["iterations"] = max(1, chosen["iterations"] * chosen["batch"] // batch)
    chosen["batch"] = batch
    chosen["lr"] = lr if isinstance(lr, int | float) else chosen["lr"]  # building refuses others
    chosen["warmup"] = first.get("end", 0) if is_warm_up else 0
    chosen["epochs"] = cfg.train_cfg.get("max_epochs", chosen["epochs"])
    chosen["val_interval"] = cfg.train_cfg.get("val_interval", chosen["val_interval"])
    return chosen
