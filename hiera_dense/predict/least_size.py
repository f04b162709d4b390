"""The smallest image that an exported model takes."""

import math
from collections.abc import Mapping
from typing import Any

from hiera_dense.errors import DataError


class LeastSize:
    """How many cells the feature maps of an image have at least.

    A DINO begins each query as one of them, and neither PyTorch nor a file has more queries than
    cells.

    Args:
        cells: From the metadata: `least`, the number, and `strides` of the maps; None: any will do.
        divisor: The graph pads sides to multiples of it.

    Raises:
        ValueError: A number is not positive.
    """

    def __init__(self, cells: Mapping[str, Any] | None, divisor: int) -> None:
        self._least = 0 if cells is None else int(cells["least"])
        self._strides = () if cells is None else tuple(int(stride) for stride in cells["strides"])
        self._divisor = divisor
        if cells is not None and min((self._least, *self._strides)) < 1:
            raise ValueError(f"cells {cells!r}")

    def check(self, size: tuple[int, ...], scaled: tuple[int, ...]) -> None:
        """Refuse an image that is too small.

        Args:
            size: Height and width of the image.
            scaled: Those at the scale of the network.

        Raises:
            DataError: It has fewer cells.
        """
        if self._cells(scaled) >= self._least:
            return
        side = min(self._strides) * math.ceil(math.sqrt(self._least))
        resized = "" if scaled == size else f", and of {scaled[0]} x {scaled[1]} px when resized"
        where = "" if scaled == size else " after resizing"
        raise DataError(
            f"image of {size[0]} x {size[1]} px{resized}; expected at least {side} x {side} px"
            f"{where}, or as many otherwise: the model has {self._least} queries"
        )

    def _cells(self, size: tuple[int, ...]) -> int:
        height, width = (math.ceil(side / self._divisor) * self._divisor for side in size)
        return sum(math.ceil(height / by) * math.ceil(width / by) for by in self._strides)
