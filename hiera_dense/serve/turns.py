"""Many clients, one network: who comes when it is busy waits, or is told to come back."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """As many requests as the server takes are waiting already."""

    def __init__(self) -> None:
        super().__init__("the server is busy; expected fewer requests at a time, try again")


class Turns:
    """Runs jobs in a few threads, in the order in which they come.

    Args:
        requests: How many may be under way, waiting ones included.
        threads: How many jobs run at a time. While the network has one image, another one is
            decoded or drawn.
    """

    def __init__(self, requests: int = 64, threads: int = 2) -> None:
        self._free = BoundedSemaphore(requests)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")

    @contextmanager
    def request(self) -> Iterator[None]:
        """Hold a place from a request's arrival to its answer.

        Raises:
            Busy: All places are taken.
        """
        if not self._free.acquire(blocking=False):
            raise Busy
        try:
            yield
        finally:
            self._free.release()

    def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run a job of a request once it is its turn."""
        return self._threads.submit(job, *args, **kwargs)

    def close(self) -> None:
        """Finish what runs, and drop what waits."""
        self._threads.shutdown(cancel_futures=True)
