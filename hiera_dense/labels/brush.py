"""The run-length encoding of Label Studio's brush: a stream of bits.

After the number of values (32 bits) and their width less one (5 bits) come the widths less one of
four kinds of lengths (4 bits each). Then, until all values are there: one bit, whether a value
repeats; two bits, the kind of length; the length less one; and one value or, where none repeats, as
many as the length says. The values are the bytes of an image, RGBA, of which alpha is the mask.
"""

import numpy as np
from numpy.typing import NDArray

from hiera_dense.errors import DataError

_LARGEST = 1 << 31  # values


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8))
        self._place = 0

    def number(self, width: int) -> int:
        return int(self.numbers(1, width)[0])

    def numbers(self, count: int, width: int) -> NDArray[np.int64]:
        """The next numbers of a width."""
        end = self._place + count * width
        if end > self._bits.size:
            raise DataError("it ends too early")
        rows = self._bits[self._place : end].reshape(count, width)
        self._place = end
        return rows @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))


def read_brush(data: list[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of a brush.

    Args:
        data: Bytes.
        size: Of the image, (W, H), px.

    Returns:
        bool, shape (H, W).

    Raises:
        DataError: They are no such stream, or one of another size.
    """
    try:
        bits = _Bits(bytes(data))
    except (TypeError, ValueError):
        raise DataError("it has values that are no bytes") from None
    total = bits.number(32)
    width, height = size
    if total != width * height * 4 or total > _LARGEST:
        raise DataError(f"it has {total} values; expected {width} x {height} x 4")
    value_width = bits.number(5) + 1
    widths = [bits.number(4) + 1 for _ in range(4)]
    values = np.zeros(total, np.uint8)
    place = 0
    while place < total:
        repeats = bits.number(1)
        end = place + 1 + bits.number(widths[bits.number(2)])
        if end > total:
            raise DataError("a run goes beyond its end")
        count = 1 if repeats else end - place
        values[place:end] = bits.numbers(count, value_width)
        place = end
    return values.reshape(height, width, 4)[..., 3] > 0
