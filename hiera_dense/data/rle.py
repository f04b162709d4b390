"""COCO's run-length encoding, read and written without pycocotools.

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
Mask = NDArray[Any]
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


def encode_counts(counts: Counts) -> str:
    """The compressed text of counts, as pycocotools writes it."""
    numbers = counts.astype(np.int64)
    numbers[3:] -= counts[1:-2]
    # A number takes as many characters as its bits and its sign need.
    lengths = np.ones(numbers.size, np.int64)
    for characters in range(1, _MOST_CHARACTERS):
        half = 1 << (_BITS * characters - 1)
        lengths += (numbers < -half) | (numbers >= half)
    ends = np.cumsum(lengths)
    place = np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - lengths, lengths)
    text = (np.repeat(numbers, lengths) >> (_BITS * place)) & 31
    text |= 32
    text[ends - 1] &= 31
    return str((text + ord("0")).astype(np.uint8).tobytes(), "ascii")


def counts_of(mask: Mask, offset: tuple[int, int], size: tuple[int, int]) -> Counts:
    """The counts of a mask of an image of which a part is given; the whole is never made.

    Args:
        mask: The part, bool, shape (h, w).
        offset: Its place in the image, (y, x), px.
        size: Of the image, (H, W), px.
    """
    # A row of zeros below, so that no run goes from one column into the next.
    columns = np.pad(mask, ((0, 1), (0, 0))).ravel(order="F")
    changes = np.flatnonzero(np.diff(columns, prepend=False))
    column, row = np.divmod(changes, len(mask) + 1)
    places = (offset[1] + column) * size[0] + offset[0] + row
    # Runs that meet at the border of the image are one.
    places, times = np.unique(places, return_counts=True)
    places = np.union1d(places[times == 1], size[0] * size[1])
    return np.diff(places, prepend=0)


def counts_by_label(labels: NDArray[Any]) -> dict[int, Counts]:
    """The counts of the mask of each label that a segmentation has, shape (H, W)."""
    flat = labels.ravel(order="F")
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1])) if flat.size else np.zeros(0, int)
    starts = np.concatenate([np.zeros(min(1, flat.size), int), starts])
    ends = np.append(starts[1:], flat.size)
    runs = flat[starts]
    counts = {}
    for label in np.unique(runs):
        edges = np.stack([starts[runs == label], ends[runs == label]], 1).ravel()
        last = np.arange(flat.size, flat.size + (edges[-1] != flat.size))
        counts[int(label)] = np.diff(edges, prepend=0, append=last)
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
