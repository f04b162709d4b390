"""Compare networks in time, memory and use of the machine, at the sizes that detection uses.

Each contestant runs in its own process, with the same images; they take turns, after a first run
that does not count. Memory is the peak above that of the model and its input. FLOPs are counted,
attention included, and set against the rate of the machine in matrix products, measured in turn.
"""

import argparse
import json
import math
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from tools.bench import contestants
from tools.bench.contestants import Size
from tools.bench.measure import Failure, Jobs, Worker, alternate, matrix_rates

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AMP = "amp"
# torch.compile's mode, by what stands behind a contestant's name.
MODES = {"compile": None, "graphs": "reduce-overhead"}
MACHINE = "matrix products"


@dataclass
class Result:
    """One contestant at one size.

    Attributes:
        name, size: Which.
        seconds: Of each run.
        memory: Peak above the model, in MB.
        flops: Of a forward pass of all images.
        problem: Why there is none.
        kernels: Where its time goes: seconds and calls by name. None: not asked for.
    """

    name: str
    size: Size
    seconds: Sequence[float] = ()
    memory: float = math.nan
    flops: float = math.nan
    problem: str = ""
    kernels: Mapping[str, tuple[float, int]] | None = None


def jobs(name: str, size: Size, options: Mapping[str, Any]) -> Jobs:
    """What a process does for a contestant."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device, half = options["device"], options["half"]
    name, *flags = name.split("@")
    if unknown := set(flags) - {*DTYPES, AMP, *MODES}:
        known = ", ".join((*DTYPES, AMP, *MODES))
        raise ValueError(f"@{unknown.pop()}; expected one of {known}")
    kind = next((flag for flag in flags if flag not in MODES), options["dtype"])
    amp = kind == AMP
    dtype = torch.float32 if amp else DTYPES[kind]
    if name == MACHINE:
        return {"run": lambda: None, "rate": lambda: matrix_rates(half if amp else dtype, device)}
    model, forward = contestants.build(name, size)
    model.to(device, dtype)
    images = torch.randn(options["batch"], 3, *size).to(device, dtype)
    how = next((flag for flag in flags if flag in MODES), "compile" if options["compile"] else "")
    step = torch.compile(forward, mode=MODES[how]) if how else forward

    def evaluate() -> None:
        with torch.no_grad(), torch.autocast(device, half, enabled=amp):
            step(images)

    def train() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(device, half, enabled=amp):
            loss = sum(features.float().mean() for features in step(images))
        loss.backward()

    def flops() -> float:
        """The last job: it takes the weights away."""
        model.to("meta").eval()
        with FlopCounterMode(display=False) as counter:
            forward(images.to("meta"))
        return float(counter.get_total_flops())

    model.train(options["mode"] == "train")
    run = train if options["mode"] == "train" else evaluate
    return {"run": run, "flops": flops, "kernels": lambda: kernels(run, device)}


def kernels(run: Callable[[], None], device: str) -> dict[str, tuple[float, int]]:
    """Seconds and calls of each kernel of a GPU, or operator of a CPU, the slowest first."""
    run()
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    with profile(activities=kinds) as profiler:
        run()
        if device == "cuda":
            torch.cuda.synchronize()
    found: dict[str, tuple[float, int]] = {}
    for event in profiler.key_averages():
        on_gpu = event.device_type.name == "CUDA"
        time = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        if on_gpu == (device == "cuda"):
            found[event.key] = (time / 1e6, event.count)
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def table_of_kernels(name: str, found: Mapping[str, tuple[float, int]]) -> str:
    """A table in Markdown of the kernels that take nine tenths of the time."""
    total = sum(seconds for seconds, _ in found.values())
    lines = [f"| {name}: {total * 1e3:.1f} ms | ms | share | calls |", "|---|---|---|---|"]
    covered = 0.0
    for kernel, (seconds, calls) in found.items():
        if covered > 0.9 * total:
            break
        covered += seconds
        label = kernel.replace("|", "/")[:90]
        lines.append(f"| `{label}` | {seconds * 1e3:.2f} | {seconds / total:.0%} | {calls} |")
    return "\n".join(lines)


def compare(
    names: Sequence[str], size: Size, options: Mapping[str, Any]
) -> tuple[list[Result], dict[str, float]]:
    """All contestants at one size, and the machine's rates in operations per second, by library."""
    machine, *workers = (
        Worker(jobs, name, size, options, threads=options["threads"]) for name in (MACHINE, *names)
    )
    results = [Result(name, size) for name in names]
    if options["device"] == "cuda":  # which cores of the CPU wait for: they compile side by side
        for wait in [worker.begin("run") for worker in workers]:
            with suppress(Failure):
                wait()
    asked = {MACHINE: partial(machine.result, "rate")}
    for result, worker in zip(results, workers, strict=True):
        try:
            result.memory = worker.memory("run")
            asked[result.name] = partial(worker.seconds, "run")
        except Failure as failure:
            result.problem = str(failure)
    given = alternate(asked, options["runs"])
    for result, worker in zip(results, workers, strict=True):
        result.seconds = given.get(result.name, ())
        if result.name in options["profiled"] and not result.problem:
            result.kernels = worker.result("kernels")
        if not result.problem and options["mode"] == "eval":
            with suppress(Failure):  # a whole detector does not run without values
                result.flops = worker.result("flops")
    for worker in (machine, *workers):
        worker.stop()
    rates = given[MACHINE]
    return results, {library: max(rate[library] for rate in rates) for library in rates[0]}


def table(results: Sequence[Result], rates: Mapping[str, float], batch: int) -> str:
    """A table in Markdown of the contestants at one size."""
    share = f"share of the rate of {', '.join(rates)}"
    title = f"| | seconds | time / first row | images/s | MB | GFLOP | {share} |"
    lines = [title, "|---" * 7 + "|"]
    first = results[0]
    for result in results:
        if not result.seconds:
            lines.append(f"| {result.name} | cannot: {result.problem} | | | | | |")
            continue
        least, middle = min(result.seconds), statistics.median(result.seconds)
        ratio = f"{least / min(first.seconds):.2f}" if first.seconds else ""
        work = share = ""
        if not math.isnan(result.flops):
            work = f"{result.flops / 1e9:.1f}"
            share = ", ".join(f"{result.flops / least / rate:.0%}" for rate in rates.values())
        digits = 3 if least >= 0.1 else 5
        cells = (
            result.name,
            f"{least:.{digits}f} ({middle:.{digits}f})",
            ratio,
            f"{batch / least:.2f}",
            f"{result.memory:.0f}",
            work,
            share,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def growth(results: Sequence[Result]) -> str:
    """The power of the pixels with which time and memory grow, from smallest to largest size."""
    lines = []
    for name in dict.fromkeys(result.name for result in results):
        able = [result for result in results if result.name == name and result.seconds]
        able.sort(key=lambda result: math.prod(result.size))
        if not able or math.prod(able[-1].size) < 2 * math.prod(able[0].size):
            continue
        small, large = able[0], able[-1]
        pixels = math.log(math.prod(large.size) / math.prod(small.size))
        time = math.log(min(large.seconds) / min(small.seconds)) / pixels
        memory = math.log(large.memory / small.memory) / pixels
        lines.append(f"| {name} | {time:.2f} | {memory:.2f} |")
    if not lines:
        return ""
    title = "| grows with pixels to the power | time | memory |\n|---|---|---|"
    return "\n".join((title, *lines))


def plot(results: Sequence[Result], file: str) -> None:
    """Time and memory against pixels, both logarithmic."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    sizes = sorted({result.size for result in results}, key=math.prod)
    for panel, what in zip(panels, ("seconds", "MB above the model"), strict=True):
        for name in dict.fromkeys(result.name for result in results):
            able = [r for r in results if r.name == name and r.seconds]
            able.sort(key=lambda result: math.prod(result.size))
            values = [min(r.seconds) if what == "seconds" else r.memory for r in able]
            panel.plot([math.prod(r.size) for r in able], values, marker="o", label=name)
        panel.set(xscale="log", yscale="log", xlabel="image size in pixels", ylabel=what)
        panel.set_xticks(
            [math.prod(s) for s in sizes], [f"{w} x {h}" for h, w in sizes], rotation=45
        )
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    figure.savefig(file, dpi=110)


def machine(options: Mapping[str, Any]) -> str:
    """What was measured on, and how."""
    if options["device"] == "cuda":
        where = torch.cuda.get_device_name()
    else:
        with open("/proc/cpuinfo") as file:
            models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        where = f"{models[0] if models else platform.processor()}, {options['threads']} threads"
    how = "compiled" if options["compile"] else "eager"
    return (
        f"{options['mode']}, {options['dtype']}, batch {options['batch']}, {how}, torch "
        f"{torch.__version__}, {where}; minimum (median) of {options['runs']} runs"
    )


def parse_size(text: str) -> Size:
    """`1024` or `800x1216`, height first."""
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"contestants:\n{contestants.HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("contestants", nargs="+", help="the first is what ratios refer to")
    parser.add_argument("--size", nargs="+", type=parse_size, default=[(512, 512)])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--mode", choices=("eval", "train"), default="eval")
    parser.add_argument(
        "--dtype",
        choices=(*DTYPES, AMP),
        default="float32",
        help="of weights and images; amp: autocast of float32 weights; NAME@DTYPE for one alone",
    )
    parser.add_argument(
        "--half", choices=("bfloat16", "float16"), default="bfloat16", help="of amp"
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="with torch.compile; NAME@compile for one alone, NAME@graphs with CUDA graphs",
    )
    parser.add_argument(
        "--profiled",
        nargs="+",
        default=(),
        metavar="NAME",
        help="list the kernels of these",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="also write what was measured there")
    parser.add_argument("--plot", metavar="FILE", help="also draw time and memory against pixels")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda: torch sees no GPU")
    options = vars(args) | {"half": DTYPES[args.half]}
    everything: list[Result] = []
    print(f"{machine(options)}\n", flush=True)
    for size in args.size:
        results, rates = compare(args.contestants, size, options)
        everything += results
        said = ", ".join(f"{library} {rate / 1e9:.0f}" for library, rate in rates.items())
        print(f"{size[0]} x {size[1]} px; matrix products, GFLOP/s: {said}\n")
        print(f"{table(results, rates, args.batch)}\n", flush=True)
        for result in results:
            if result.kernels:
                print(f"{table_of_kernels(result.name, result.kernels)}\n", flush=True)
    print(growth(everything))
    if args.json:
        record = {"how": machine(options), "results": [asdict(result) for result in everything]}
        Path(args.json).write_text(json.dumps(record, indent=1))
    if args.plot:
        plot(everything, args.plot)


if __name__ == "__main__":
    main()
