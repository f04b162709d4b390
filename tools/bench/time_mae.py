"""Time masked autoencoders: ours beside hiera-transformer's, in turn, each in its own process.

A training step (forward and backward), its peak memory above that of the model, and the encoder
alone with all mask units and with the visible ones. Weights are random, masks equal.
"""

import argparse
import statistics
from functools import partial
from typing import Any

import hiera
import torch

from hiera_dense.model.mae import MaskedAutoencoder
from tools.bench.measure import Job, Worker, alternate

OURS, THEIRS = "hiera_dense", "hiera-transformer"
STEP, WHOLE, VISIBLE = "training step", "encoder, nothing masked", "encoder, masked"
JOBS = (STEP, WHOLE, VISIBLE)


def build(name: str, arch: str) -> Any:
    """A contestant."""
    if name == OURS:
        return MaskedAutoencoder(arch)
    return getattr(hiera, f"mae_hiera_{arch}_224")()


def work(name: str, model: Any, images: torch.Tensor, mask: torch.Tensor) -> dict[str, Job]:
    """What is timed, by name."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        model(images, mask=mask)[0].backward()

    @torch.no_grad()
    def encode(kept: torch.Tensor) -> None:
        if name == OURS:
            model.encode(images, kept)
        else:
            model.forward_encoder(images, 0.0, kept)

    everything = torch.ones_like(mask)
    return {STEP: step, WHOLE: lambda: encode(everything), VISIBLE: lambda: encode(mask)}


def jobs(name: str, args: argparse.Namespace) -> dict[str, Job]:
    """What a process does for a contestant."""
    model = build(name, args.arch)
    images = torch.randn(args.batch, 3, args.side, args.side)
    units = (args.side // 32) ** 2
    mask = torch.rand(args.batch, units).argsort(1) < int(units * (1 - args.ratio))
    return work(name, model, images, mask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="base", help="tiny, small, base, ...")
    parser.add_argument("--side", type=int, default=224, help="image side in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--ratio", type=float, default=0.6, help="share of the units masked")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    workers = {name: Worker(jobs, name, args, threads=args.threads) for name in (OURS, THEIRS)}
    memory = {name: worker.memory(STEP) for name, worker in workers.items()}
    times: dict[tuple[str, str], list[float]] = {}
    for job in JOBS:
        asked = {name: partial(worker.seconds, job) for name, worker in workers.items()}
        times |= {(job, name): seconds for name, seconds in alternate(asked, args.runs).items()}
    for worker in workers.values():
        worker.stop()
    print(
        f"Hiera {args.arch}, {args.side} px, batch {args.batch}, ratio {args.ratio}, "
        f"{args.threads} threads, torch {torch.__version__}; minimum (median) of {args.runs} runs\n"
    )
    print(f"| | {OURS} | {THEIRS} | ratio |\n|---|---|---|---|")
    for job in JOBS:
        ours, theirs = times[job, OURS], times[job, THEIRS]
        cells = [f"{min(t):.3f} s ({statistics.median(t):.3f})" for t in (ours, theirs)]
        medians = statistics.median(ours) / statistics.median(theirs)
        ratio = f"{min(ours) / min(theirs):.2f} ({medians:.2f})"
        print(f"| {job} | {cells[0]} | {cells[1]} | {ratio} |")
    ratio = f"{memory[OURS] / memory[THEIRS]:.2f}"
    print(f"| step, peak memory | {memory[OURS]:.0f} MB | {memory[THEIRS]:.0f} MB | {ratio} |")
    shares = [min(times[VISIBLE, name]) / min(times[WHOLE, name]) for name in (OURS, THEIRS)]
    print(f"| encoder: time masked / nothing masked | {shares[0]:.2f} | {shares[1]:.2f} | |")


if __name__ == "__main__":
    main()
