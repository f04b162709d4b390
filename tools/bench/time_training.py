"""Time the iterations of a recipe's training, part by part, on the device that is there.

    python -m tools.bench.time_training RECIPE [--data FOLDER] [--variant NAME:KEY=VALUE ...]

The recipe trains with its own loop, loaders and hooks, and so does each variant, with settings
overridden: in turn, each in its own process. A recipe for COCO or ADE20K gets drawn images of their
size. Weights are random. The device is waited for at the end of each part, so that times are of the
part that took them; `whole` is of an iteration without that.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.config import Config, DictAction
from mmengine.hooks import Hook

from hiera_dense.data.folders import VARIABLE
from hiera_dense.mm.config_file import override, read_config
from hiera_dense.mm.launch import build_runner
from hiera_dense.recipes import recipe
from tools.bench.measure import Failure, Job, Worker, alternate
from tools.bench.time_check import draw
from tools.bench.time_data import draw_masks

WHOLE, MEMORY, IMAGES = "whole", "MB", "images per second"
PARTS = (
    *("waiting for data", "transfer and normalisation", "backbone", "neck", "heads and losses"),
    *("backward pass", "optimizer", "hooks and logs"),
)


class Clock(Hook):
    """Measures the parts of each iteration of a runner, in seconds.

    Args:
        parts: Whether to; else whole iterations alone.
        warm_up: Iterations that are not counted.
    """

    priority = "LOWEST"

    def __init__(self, parts: bool, warm_up: int) -> None:
        self.parts = parts
        self.warm_up = warm_up
        self.spent: list[dict[str, float]] = []
        self.last = 0.0

    def before_train(self, runner: Any) -> None:
        """Listen to the model and the optimizer's wrapper."""
        if self.parts:
            model, wrapper = runner.model, runner.optim_wrapper
            for name, part in zip(
                ("data_preprocessor", "backbone", "neck"), PARTS[1:4], strict=True
            ):
                if module := getattr(model, name, None):
                    module.register_forward_hook(
                        lambda *_, part=part: self.lap(part), always_call=True
                    )
            wrapper.backward = self._around(wrapper.backward, "heads and losses", "backward pass")
            wrapper.zero_grad = self._around(wrapper.zero_grad, None, "optimizer")
        self.spent.append({})
        self.last = time.perf_counter()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """The batch is there."""
        if self.parts:
            self.lap("waiting for data")

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """The iteration ends."""
        self.lap("hooks and logs" if self.parts else WHOLE)
        self.spent.append({})

    def lap(self, part: str) -> None:
        """Give the time since the last call to a part."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.spent[-1][part] = self.spent[-1].get(part, 0.0) + now - self.last
        self.last = now

    def _around(
        self, function: Callable[..., Any], before: str | None, after: str
    ) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if before:
                self.lap(before)
            value = function(*args, **kwargs)
            self.lap(after)
            return value

        return timed

    def median(self) -> dict[str, float]:
        """The median of each part, in seconds."""
        counted = self.spent[self.warm_up : -1]
        names = dict.fromkeys(name for each in counted for name in each)
        return {name: statistics.median(each.get(name, 0.0) for each in counted) for name in names}


def jobs(settings: dict[str, Any], args: argparse.Namespace, folder: str) -> dict[str, Job]:
    """What a process does for a contestant."""
    logging.disable(logging.WARNING)
    return {"train": partial(train, settings, args, folder)}


def train(settings: dict[str, Any], args: argparse.Namespace, folder: str) -> dict[str, float]:
    """Train twice, for whole iterations and for their parts: medians in seconds; peak in MB."""
    found: dict[str, float] = {}
    for parts in (False, True):
        cfg = configured(args, folder)
        override(cfg, settings)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        with tempfile.TemporaryDirectory() as work_dir:
            cfg.work_dir = work_dir
            runner = build_runner(cfg)
            clock = Clock(parts, args.warm_up)
            runner.register_hook(clock)
            runner.train()
        found |= clock.median()
    if torch.cuda.is_available():
        found[MEMORY] = torch.cuda.max_memory_allocated() / 1e6
    found[IMAGES] = cfg.train_dataloader.batch_size / found[WHOLE]
    return found


def configured(args: argparse.Namespace, folder: str) -> Config:
    """A recipe that trains for few iterations from random weights, and does nothing else."""
    os.environ[VARIABLE] = args.data or ""
    cfg = read_config(recipe(args.recipe))
    loader = cfg.train_dataloader
    loader.batch_size = args.batch or loader.batch_size
    loader.num_workers = args.workers
    loader.persistent_workers = bool(args.workers)
    if not args.data:
        loader.dataset.data_root = folder
        if cfg.default_scope == "mmdet":
            loader.dataset.update(ann_file="instances_train.json", data_prefix=dict(img="train"))
            loader.dataset.metainfo = dict(classes=("disc",))
    if "init_cfg" in cfg.model.backbone:
        cfg.model.backbone.init_cfg = None
    loader.pop("batch_sampler", None)
    loader.sampler = dict(type="InfiniteSampler", shuffle=True)
    cfg.train_cfg = dict(
        type="IterBasedTrainLoop", max_iters=args.warm_up + args.iterations, val_interval=10**6
    )
    for part in ("val_dataloader", "val_cfg", "val_evaluator"):
        cfg[part] = None
    for part in ("test_dataloader", "test_cfg", "test_evaluator"):
        cfg[part] = None
    cfg.default_hooks.checkpoint = None
    cfg.visualizer.pop("name", None)  # by which mmengine would use that of the run before
    cfg.pop("custom_hooks", None)
    return cfg


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME:KEY=VALUE[,KEY=VALUE...]"
    )
    parser.add_argument("--data", help="a folder, for recipes of own data")
    parser.add_argument("--batch", type=int, help="images at once; default: the recipe's")
    parser.add_argument("--workers", type=int, default=1, help="processes that read data")
    parser.add_argument("--iterations", type=int, default=10, help="that are counted, of a run")
    parser.add_argument("--warm-up", type=int, default=3, help="iterations before these")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    args = parser.parse_args()
    contestants: dict[str, dict[str, Any]] = {"recipe": {}}
    for variant in args.variant:
        name, _, settings = variant.partition(":")
        pairs = (setting.partition("=") for setting in settings.split(","))
        contestants[name] = {key: DictAction._parse_iterable(value) for key, _, value in pairs}
    with tempfile.TemporaryDirectory() as folder:
        if not args.data:
            draw(Path(folder), 60, 8)
            draw_masks(Path(folder), 60, 8)
        workers = {
            name: Worker(jobs, settings, args, folder, threads=args.threads, has_children=True)
            for name, settings in contestants.items()
        }
        try:
            asked = {name: partial(_told, name, worker) for name, worker in workers.items()}
            measured = alternate(asked, args.runs)
        finally:
            for worker in workers.values():
                worker.stop()
    if not measured:
        raise SystemExit("nothing was measured: see above")
    _print(measured)


def _told(name: str, worker: Worker) -> dict[str, float]:
    try:
        return cast(dict[str, float], worker.result("train"))
    except Failure as failure:
        print(f"{name}: {failure}")
        raise


def _print(measured: dict[str, list[dict[str, float]]]) -> None:
    found = {
        name: {key: min(run[key] for run in runs) for key in runs[0]}
        for name, runs in measured.items()
    }
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{device}, torch {torch.__version__}; ms, and share of the sum of parts\n")
    print(f"| part | {' | '.join(found)} |\n|---|" + "---|" * len(found))
    for part in PARTS:
        cells = []
        for times in found.values():
            whole = sum(times.get(each, 0.0) for each in PARTS)
            seconds = times.get(part, 0.0)
            cells.append(f"{1000 * seconds:.1f} ({seconds / whole:.0%})")
        print(f"| {part} | {' | '.join(cells)} |")
    print(f"| {WHOLE} | {' | '.join(f'{1000 * times[WHOLE]:.1f}' for times in found.values())} |")
    rates = [max(run[IMAGES] for run in runs) for runs in measured.values()]
    print(f"| {IMAGES} | {' | '.join(f'{rate:.2f}' for rate in rates)} |")
    if torch.cuda.is_available():
        print(f"| {MEMORY} | {' | '.join(f'{times[MEMORY]:.0f}' for times in found.values())} |")


if __name__ == "__main__":
    main()
