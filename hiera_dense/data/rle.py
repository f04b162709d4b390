"""COCO's run-length encoding, read without pycocotools.

A mask is flattened by columns; counts are the lengths of runs, the first of them background.
pycocotools trusts both forms, lists and compressed text, and reads uninitialised memory where the
counts do not sum to the image. Compressed text, from rleToString of pycocotools' maskApi.c: 6 bits
a character from '0' on, of which 5 are of the number and one says that more follow; from the fourth
count on, differences to the count two before.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
_BITS = 5
_MOST_CHARACTERS = 7  # of a number: 35 bits


def decode_counts(text: str) -> Counts | None:
    """The counts that a compressed text stands for, None where it is no such text."""
    try:
        characters = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - ord("0")
    except UnicodeEncodeError:
        return None
    if not characters.size or characters.min() < 0 or characters.max() > 63:
        return None
    ends = np.flatnonzero(characters & 32 == 0)
    if not ends.size or ends[-1] != characters.size - 1:
        return None
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _MOST_CHARACTERS:
        return None
    starts = ends - lengths + 1
    place = np.arange(characters.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((characters & 31) << (_BITS * place), starts)
    numbers -= np.where(characters[ends] & 16, 1 << (_BITS * lengths), 0)
    counts = numbers.copy()
    counts[1::2] = np.cumsum(numbers[1::2])
    counts[2::2] = np.cumsum(numbers[2::2])
    return counts


def read_counts(counts: Any, size: tuple[int, int]) -> Counts | None:
    """The counts of a mask of this width and height, None where they are not of it."""
    if isinstance(counts, str):
        read = decode_counts(counts)
    elif isinstance(counts, list) and counts and set(map(type, counts)) == {int}:
        pixels = size[0] * size[1]
        fits = min(counts) >= 0 and max(counts) <= pixels
        read = np.array(counts, np.int64) if fits else None
    else:
        return None
    if read is None or read.min() < 0 or read.sum() != size[0] * size[1]:
        return None
    return read


def box_of(counts: Counts, height: int) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of the foreground, None without any."""
    ends = np.cumsum(counts)
    starts = ends - counts
    is_run = (np.arange(counts.size) % 2 == 1) & (counts > 0)
    starts, last = starts[is_run], ends[is_run] - 1
    if not starts.size:
        return None
    left, right = starts[0] // height, last[-1] // height
    # A run that goes on in the next column holds the last row and the first.
    if np.any(starts // height != last // height):
        top, bottom = 0, height - 1
    else:
        top, bottom = (starts % height).min(), (last % height).max()
    return float(left), float(top), float(right + 1), float(bottom + 1)
