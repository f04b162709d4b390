"""Time masked autoencoders: ours beside hiera-transformer's, in turn, each in its own process.

A training step (forward and backward), its peak memory above that of the model, and the encoder
alone with all mask units and with the visible ones. Weights are random, masks equal.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import hiera
import torch

from hiera_dense.autoencoder import MaskedAutoencoder

OURS, THEIRS = "hiera_dense", "hiera-transformer"
Job = Callable[[], None]
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


def resident() -> float:
    """Memory of this process now, in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def serve(name: str, args: argparse.Namespace, orders: Connection) -> None:
    """Do what is asked for, answering with seconds, or for `memory` with MB."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = build(name, args.arch)
    images = torch.randn(args.batch, 3, args.side, args.side)
    units = (args.side // 32) ** 2
    mask = torch.rand(args.batch, units).argsort(1) < int(units * (1 - args.ratio))
    jobs = work(name, model, images, mask)
    while (order := orders.recv()) is not None:
        if order == "memory":
            before = resident()
            jobs[STEP]()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            orders.send(peak - before)
            continue
        start = time.perf_counter()
        jobs[order]()
        orders.send(time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="base", help="tiny, small, base, ...")
    parser.add_argument("--side", type=int, default=224, help="image side in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--ratio", type=float, default=0.6, help="share of the units masked")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ends = {}
    for name in (OURS, THEIRS):
        ends[name], other = context.Pipe()
        context.Process(target=serve, args=(name, args, other), daemon=True).start()

    def ask(name: str, order: str) -> float:
        ends[name].send(order)
        answer: float = ends[name].recv()
        return answer

    memory = {name: ask(name, "memory") for name in ends}  # of the first step, which warms up too
    times: dict[tuple[str, str], list[float]] = {(job, name): [] for job in JOBS for name in ends}
    for job in JOBS:
        for run in range(args.runs + 1):
            for name in ends:
                seconds = ask(name, job)
                if run:
                    times[job, name].append(seconds)
    for end in ends.values():
        end.send(None)
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
    print(f"| masked encoder, share of the whole | {shares[0]:.2f} | {shares[1]:.2f} | |")


if __name__ == "__main__":
    main()
