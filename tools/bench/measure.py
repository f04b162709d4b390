"""Time and memory of contestants, in turn, each in its own process."""

import ctypes
import multiprocessing
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

Job = Callable[[], object]
Jobs = Mapping[str, Job]

_CONTEXT = multiprocessing.get_context("spawn")


class Failure(Exception):
    """What a contestant cannot do, and why."""


class Worker:
    """A process that builds something once and then does jobs when it is asked to.

    Args:
        build: What gives the jobs by name. Importable, since the process imports it anew.
        args: Its arguments.
        threads: Of torch in that process.
        has_children: Whether it starts processes of its own, as loaders of data do.
    """

    def __init__(
        self,
        build: Callable[..., Jobs],
        *args: Any,
        threads: int,
        has_children: bool = False,
    ) -> None:
        self._end, other = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_serve, args=(other, threads, build, *args), daemon=not has_children
        )
        self._process.start()
        other.close()

    def seconds(self, job: str) -> float:
        """How long a job takes.

        Raises:
            Failure: It does not work, or what it needs could not be built.
        """
        return float(self._ask("seconds", job))

    def memory(self, job: str) -> float:
        """Peak memory during a job above that before it, in MB, after the job has run once."""
        return float(self._ask("memory", job))

    def result(self, job: str) -> Any:
        """What a job returns."""
        return self._ask("result", job)

    def begin(self, job: str) -> Callable[[], Any]:
        """Let a job run, and give what waits for its result."""
        with suppress(BrokenPipeError):  # told when its answer is asked for
            self._end.send(("result", job))
        return self._answer

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()

    def _ask(self, what: str, job: str) -> Any:
        with suppress(BrokenPipeError):
            self._end.send((what, job))
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer = self._end.recv()
        except EOFError:
            self._process.join()
            raise Failure(f"its process ended with {self._process.exitcode}") from None
        if isinstance(answer, Failure):
            raise answer
        return answer


def alternate(asked: Mapping[str, Callable[[], Any]], runs: int) -> dict[str, list[Any]]:
    """What several runs give, in turn, without a first one of each.

    What raises a `Failure` is asked no more and has no entry.
    """
    given: dict[str, list[Any]] = {name: [] for name in asked}
    for _ in range(runs + 1):
        for name in list(given):
            try:
                given[name].append(asked[name]())
            except Failure:
                del given[name]
    return {name: values[1:] for name, values in given.items()}


def _serve(orders: Any, threads: int, build: Callable[..., Jobs], *args: Any) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    try:
        jobs: Jobs = build(*args)
        problem = None
    except Exception as error:
        problem = _failure(error)
    while True:
        try:
            what, job = orders.recv()
        except EOFError:
            return
        try:
            orders.send(problem or _WAYS[what](jobs[job]))
        except Exception as error:
            orders.send(_failure(error))


def _failure(error: Exception) -> Failure:
    text = " ".join(str(error).split())
    return Failure(f"{type(error).__name__}: {text[:200]}")


def _time(job: Job) -> float:
    _wait()
    start = time.perf_counter()
    job()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak(job: Job) -> float:
    """The first run loads code and fills caches; the second is measured."""
    job()
    if torch.cuda.is_available():
        _wait()
        torch.cuda.reset_peak_memory_stats()
        before = float(torch.cuda.memory_allocated())
        job()
        _wait()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps is not in use
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    job()
    return _status("VmHWM") - before


def _status(what: str) -> float:
    """A line of this process's status, in MB."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found
    return int(found[1]) / 1024


_WAYS: Mapping[str, Callable[[Job], Any]] = {
    "seconds": _time,
    "memory": _peak,
    "result": lambda job: job(),
}


_SIZES_OF_PRODUCTS = {
    "cpu": ((2048, 2048, 2048), (1024, 384, 1152), (4096, 384, 1536)),
    "cuda": ((8192, 8192, 8192), (16384, 4096, 4096)),
}


def matrix_rates(dtype: torch.dtype, device: str) -> dict[str, float]:
    """Operations per second in matrix products, the best of some sizes, by library."""
    rates = {"torch.matmul": 0.0} | ({"oneDNN": 0.0} if device == "cpu" else {})
    for rows, inner, columns in _SIZES_OF_PRODUCTS[device]:
        a = torch.randn(rows, inner, dtype=dtype, device=device)
        b = torch.randn(columns, inner, dtype=dtype, device=device)
        products: dict[str, Job] = {
            "torch.matmul": partial(torch.matmul, a, b.t()),
            "oneDNN": partial(torch.ops.mkldnn._linear_pointwise, a, b, None, "none", [], "none"),
        }
        for name in rates:
            seconds = min(_time(products[name]) for _ in range(5))
            rates[name] = max(rates[name], 2 * rows * inner * columns / seconds)
    return rates
