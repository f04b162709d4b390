"""Results of the last images, so that another threshold needs no network."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from hiera_dense.predict.results import Result
from hiera_dense.serve.turns import Turns
from hiera_dense.serve.uploads import Limits, read_image

LOWEST = 0.05  # objects below this score are not kept


class Results:
    """Finds what is in uploaded files, and remembers it for a while.

    Args:
        predictor: As for `server.make_app`.
        limits: What is taken.
        turns: What others share the network by.
        most: Bytes of the results that are kept; the oldest go first.
    """

    def __init__(
        self, predictor: Any, limits: Limits, turns: Turns, most: int = 256_000_000
    ) -> None:
        self._predictor, self._limits, self._turns, self._most = predictor, limits, turns, most
        self._found: OrderedDict[str, Result] = OrderedDict()
        self._lock = Lock()

    def of(self, path: str) -> Result:
        """Everything that the model finds in an image file.

        Raises:
            InputError: The file is no image, or too large.
            Busy: Too many are waiting.
        """
        with self._lock:
            if path in self._found:
                self._found.move_to_end(path)
                return self._found[path]
        with self._turns.request():
            result = self._turns.run(self._find, Path(path)).result()
        with self._lock:
            self._found[path] = result
            while len(self._found) > 1 and sum(map(_bytes_of, self._found.values())) > self._most:
                self._found.popitem(last=False)
        return result

    def _find(self, path: Path) -> Result:
        self._limits.check_bytes(path.stat().st_size)
        image = read_image(path.read_bytes(), self._limits)
        found: Result = self._predictor(image, score=LOWEST)
        return replace(found, image=image)


def _bytes_of(result: Result) -> int:
    arrays = [result.image, result.segmentation, *(crop.pixels for crop in result.crops or ())]
    return sum(array.nbytes for array in arrays if array is not None)


def only(result: Result, score: float, classes: Sequence[str]) -> Result:
    """What is left of a result with a threshold, and with some classes switched off."""
    if result.segmentation is None:
        return result.keep(score, classes)
    if set(classes) == set(result.classes):
        return result
    labels = [result.classes.index(name) for name in classes]
    none = len(result.classes)  # no class has this label
    kept = np.where(np.isin(result.segmentation, labels), result.segmentation, none)
    return replace(result, segmentation=kept.astype(np.int32))
