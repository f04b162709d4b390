"""Looking at many images, in processes of their own and in a time that is told."""

import faulthandler
import os
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from rich.progress import track

from hiera_dense.data.decode import Reader, see
from hiera_dense.data.findings import Seen

How = Literal["all", "some", "none"]

BUDGET = 120.0  # seconds
PROCESSES = 2
LIMIT = 60.0  # seconds for one image
ENDED = (
    f"images that end the process that reads them, or take it more than {LIMIT:.0f} s; expected "
    "others in their place"
)
_FEW = 64  # images, for which one process will do
_CHUNK = 16  # images, which a process decodes before it answers
_TRIED = 64  # images, from which the time of all is estimated


def look(paths: list[Path], how: How, reader: Reader | None, budget: float) -> dict[Path, Seen]:
    """Look at images, each once, in processes of their own: a hostile file may end one, or hang.

    Args:
        paths: The images.
        how: Decode `all` of them; `some`, an evenly spaced part that fits into the budget; `none`:
            read headers only.
        reader: How to decode; None: not at all.
        budget: Seconds for `some`. The time is estimated from a few and told.
    """
    paths = list(dict.fromkeys(paths))
    if how == "none" or reader is None:
        return {path: see(path, None) for path in track(paths, "headers of images")}
    if len(paths) <= _FEW:
        every_one: list[Task] = [(path, reader) for path in paths]
        return {answer.path: answer.seen for answer in _in_processes(every_one, 1)}
    tried = paths[:: max(1, len(paths) // _TRIED)][:_TRIED]
    answers = list(_in_processes([(path, reader) for path in tried], PROCESSES))
    seen = {answer.path: answer.seen for answer in answers}
    seconds = sum(answer.seconds for answer in answers) / len(tried) * len(paths) / PROCESSES
    every = _told(len(paths), seconds, how, budget)
    todo = [
        (path, reader if number % every == 0 else None)
        for number, path in enumerate(paths)
        if path not in seen
    ]
    for answer in track(_in_processes(todo, PROCESSES), "images", total=len(todo)):
        seen[answer.path] = answer.seen
    return seen


def _told(images: int, seconds: float, how: How, budget: float) -> int:
    """Say how long the decoding takes; every how many images are decoded."""
    every = 1 if how == "all" else max(1, int(np.ceil(seconds / budget)))
    part = "" if every == 1 else f"; one of {every} is decoded, all with check-data --decode all"
    print(f"decoding {images} images takes about {seconds:.0f} s{part}")
    return every


Task = tuple[Path, Reader | None]


class _Answer(NamedTuple):
    path: Path
    seen: Seen
    seconds: float


def _in_processes(tasks: list[Task], processes: int) -> Iterator[_Answer]:
    """Look at images in any order; an image that ends its process, or hangs, is named."""
    chunks = [tasks[i : i + _CHUNK] for i in range(0, len(tasks), _CHUNK)]
    while chunks:
        left = {id(chunk): chunk for chunk in chunks}
        try:
            for chunk, answers in _in_a_pool(chunks, processes):
                del left[id(chunk)]
                yield from answers
        except BrokenProcessPool:
            pass
        except OSError:  # a machine that gives no processes
            yield from (_answer(task) for chunk in left.values() for task in chunk)
            return
        # A process ended in one of the first that are left: those one by one.
        chunks = list(left.values())
        doubtful, chunks = chunks[: 2 * processes], chunks[2 * processes :]
        for task in (task for chunk in doubtful for task in chunk):
            try:
                yield from (pair for _, pairs in _in_a_pool([[task]], 1) for pair in pairs)
            except BrokenProcessPool:
                yield _Answer(task[0], Seen(None, ENDED), 0)


def _in_a_pool(
    chunks: list[list[Task]], processes: int
) -> Iterator[tuple[list[Task], list[_Answer]]]:
    """Chunks and what was seen, in any order; few are under way at a time.

    Raises:
        BrokenProcessPool: A process ended.
    """
    ahead = iter(chunks)
    with ProcessPoolExecutor(processes, _context(), initializer=_begin) as pool:
        running: dict[Future[list[_Answer]], list[Task]] = {}
        while True:
            for chunk in islice(ahead, 2 * processes - len(running)):
                running[pool.submit(_see_all, chunk)] = chunk
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(done), done.result()


def _see_all(tasks: list[Task]) -> list[_Answer]:
    answers = []
    with open(os.devnull, "w") as nowhere:
        for task in tasks:
            # Ends this process, also where a decoder never gives control back to Python.
            faulthandler.dump_traceback_later(LIMIT, exit=True, file=nowhere)
            try:
                answers.append(_answer(task))
            finally:
                faulthandler.cancel_dump_traceback_later()
    return answers


def _answer(task: Task) -> _Answer:
    start = time.monotonic()
    return _Answer(task[0], see(*task), time.monotonic() - start)


def _context() -> BaseContext:
    """Processes that start without a copy of this one, and quickly after the first."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "cv2"])
    return context


def _begin() -> None:
    """Import before the clock runs; one thread for each process."""
    import cv2

    cv2.setNumThreads(1)
