"""Print the tables of docs/performance.md that are of a GPU, in one go.

    python -m tools.bench.gpu_tables

Forward passes and training steps of Hiera-B beside its peers, eager and compiled, with memory and
the share of the card's rate; what recomputing saves and costs; the kernels that take most time.
`--device cpu` tries the same at a small size, with one compiled contestant of each kind of pass.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import torch

from tools.bench.benchmark import compare, machine, table, table_of_kernels

OURS = "ours:base:auto:12,16,20"
LESS = tuple(f"{OURS}:{way}" for way in ("mlp", "cp"))
HIERADET, CONVNEXT = "hieradet:base", "timm:convnext_small"
VARIANTS = tuple(f"with:{what}:base:auto:12,16,20" for what in ("triton", "maximum"))

# What is measured, mode, dtype, images at once, contestants, those whose kernels are listed.
Part = tuple[str, str, str, int, Sequence[str], Sequence[str]]
PARTS: Sequence[Part] = (
    (
        "Training step",
        "train",
        "amp",
        4,
        (OURS, *VARIANTS, *LESS, HIERADET, CONVNEXT, "timm:swin_small_patch4_window7_224"),
        (OURS, VARIANTS[0]),
    ),
    (
        "Training step, compiled",
        "train",
        "amp",
        4,
        (OURS, *LESS, HIERADET, CONVNEXT),
        (),
    ),
    (
        "Forward pass",
        "eval",
        "bfloat16",
        8,
        (OURS, *VARIANTS, "ours:base", HIERADET, CONVNEXT, "timm:base"),
        (OURS, VARIANTS[0]),
    ),
    (
        "Forward pass, compiled",
        "eval",
        "bfloat16",
        8,
        (OURS, "ours:base", HIERADET, CONVNEXT, f"{OURS}@graphs"),
        (OURS,),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--side", type=int, help="pixels; default: 1024, 64 on a CPU")
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    side = args.side or (1024 if args.device == "cuda" else 64)
    start = time.monotonic()
    for title, mode, dtype, batch, names, profiled in PARTS:
        options: dict[str, Any] = dict(
            device=args.device,
            mode=mode,
            dtype=dtype,
            half=torch.bfloat16,
            batch=batch if args.device == "cuda" else 1,
            compile=title.endswith("compiled"),
            threads=1,
            runs=args.runs,
            profiled=profiled,
        )
        if args.device == "cpu" and options["compile"]:
            names = names[:1]  # each compiles for minutes
        results, rates = compare(names, (side, side), options)
        print(f"## {title}\n\n{machine(options)}\n\n{table(results, rates, options['batch'])}\n")
        for result in results:
            if result.kernels:
                print(f"{table_of_kernels(result.name, result.kernels)}\n")
        print(f"({time.monotonic() - start:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
