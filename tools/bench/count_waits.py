"""Count where an iteration of a training waits for the device, by the code that asks for a value.

    python -m tools.bench.count_waits RECIPE [--data FOLDER]

An operator whose result decides what runs next, or its size, makes a GPU finish first: reading a
number, choosing by a mask, `nonzero`, `unique`. They are the same on a CPU, where none waits, so
this counts them there too. Left out are the steps of AdamW, which PyTorch keeps on the CPU.
"""

import argparse
import logging
import tempfile
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch.utils._python_dispatch import TorchDispatchMode

from hiera_dense.mm.launch import build_runner
from tools.bench.time_check import draw
from tools.bench.time_data import draw_masks
from tools.bench.time_training import configured

_WAIT = {
    f"aten::{name}"
    for name in [
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "equal",
        "_unique2",
        "unique_dim",
    ]
}


class Waits(TorchDispatchMode):
    """Counts operators that wait, by the package, file and line that called them."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count an operator, and run it."""
        name = func._schema.name
        by_mask = name == "aten::index" and any(
            place is not None and place.dtype in (torch.bool, torch.uint8) for place in args[1]
        )
        if name in _WAIT or by_mask:
            self._count()
        return func(*args, **(kwargs or {}))

    def _count(self) -> None:
        stack = traceback.extract_stack()
        if any("/torch/optim/" in frame.filename for frame in stack):
            return
        for frame in reversed(stack):
            if frame.filename == __file__ or "/torch/" in frame.filename:
                continue
            parts = Path(frame.filename).parts
            inside = parts.index("site-packages") + 1 if "site-packages" in parts else -2
            self.counted[parts[inside], f"{Path(frame.filename).name}:{frame.lineno}"] += 1
            return


class CountOne(Hook):
    """Counts from the begin of the second iteration to the begin of the third."""

    priority = "HIGHEST"

    def __init__(self) -> None:
        self.waits = Waits()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Begin, or end."""
        if runner.iter == 1:
            self.waits.__enter__()
        elif runner.iter == 2:
            self.waits.__exit__(None, None, None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("--data", help="a folder, for recipes of own data")
    parser.add_argument("--batch", type=int, default=2)
    args = parser.parse_args()
    args.workers, args.warm_up, args.iterations = 0, 1, 2
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as work_dir:
        if not args.data:
            draw(Path(folder), args.batch, args.batch)
            draw_masks(Path(folder), args.batch, args.batch)
        cfg = configured(args, folder)
        cfg.work_dir = work_dir
        runner = build_runner(cfg)
        count = CountOne()
        runner.register_hook(count)
        runner.train()
    packages: Counter[str] = Counter()
    for (package, _), number in count.waits.counted.items():
        packages[package] += number
    print(f"| {args.recipe} | {packages.total()} |\n|---|---|")
    for package, number in packages.most_common():
        places = [(n, place) for (p, place), n in count.waits.counted.items() if p == package]
        told = ", ".join(f"{place} {n}" for n, place in sorted(places, reverse=True)[:4])
        print(f"| {package}: {told} | {number} |")


if __name__ == "__main__":
    main()
