"""Boxes against the masks they belong to, and what a box was probably meant to be."""

from collections import Counter
from typing import Any

from hiera_dense.data.findings import Findings, Found
from hiera_dense.data.rle import box_of, read_counts

Corners = tuple[float, float, float, float]  # left, top, right, bottom

_FITS = 0.5  # intersection over union
_FITS_WELL = 0.8
_ROUNDING = 2.0  # px, by which any side may be off


class Boxes:
    """Compares the boxes of a split with their masks, and says at the end what is wrong."""

    def __init__(self) -> None:
        self.compared = 0
        self.leaving = 0
        self.all = 0
        self.wrong = Found()
        self.causes: Counter[str] = Counter()

    def add(self, annotation: dict[str, Any], image: dict[str, Any], where: str) -> None:
        """Look at one annotation with a box of finite numbers."""
        size = (image["width"], image["height"])
        box = annotation["bbox"]
        self.all += 1
        meant = _meanings(box, size)
        truth = mask_box(annotation.get("segmentation"), size)
        if truth is None:
            if leaves(box, size):
                self.leaving += 1
                corners = meant["x1, y1, x2, y2"]
                if corners[0] < corners[2] <= size[0] and corners[1] < corners[3] <= size[1]:
                    self.causes["x1, y1, x2, y2"] += 1
            elif max(map(abs, box)) <= 1:
                self.causes["units of 0 to 1"] += 1
            return
        self.compared += 1
        x, y, width, height = box
        found = (x, y, x + width, y + height)
        off = max(abs(a - b) for a, b in zip(found, truth, strict=True))
        if overlap(found, truth) >= _FITS or (off <= _ROUNDING and width > 0 and height > 0):
            return
        self.wrong.add(f"{where}: {box}, and its mask {[round(side, 1) for side in truth]}")
        self.causes.update(n for n, b in meant.items() if overlap(b, truth) >= _FITS_WELL)

    def tell(self, name: str, findings: Findings) -> None:
        """Add what is wrong with the boxes of a split."""
        cause, count = (self.causes.most_common(1) or [("", 0)])[0]
        doubtful = self.wrong.total if self.compared else max(self.leaving, count)
        whole = self.compared or self.all
        meant = f"; they are probably {cause}" if 2 * count > doubtful else ""
        expected = "; expected x, y of the upper left corner, width and height in px"
        kind = f"{name} boxes that are not those of their masks"
        if self.wrong and 2 * self.wrong.total > self.compared:
            findings.errors[f"{kind}{expected}{meant}"] = self.wrong
        elif not self.compared and 2 * count > whole:
            findings.error(f"{name} boxes{expected}{meant}", f"{count} of {whole}")
        elif self.wrong:
            findings.notes[kind] = self.wrong


def leaves(box: list[float], size: tuple[int, int]) -> bool:
    """Whether a box leaves its image by more than rounding."""
    left, top, width, height = box
    return left < -1 or top < -1 or left + width > size[0] + 1 or top + height > size[1] + 1


def mask_box(mask: Any, size: tuple[int, int]) -> Corners | None:
    """The box of what lies of a mask in its image, None where that is nothing."""
    if not mask:
        return None
    width, height = size
    if isinstance(mask, dict):
        counts = read_counts(mask["counts"], size)
        return None if counts is None else box_of(counts, height)
    left, right = min(min(p[::2]) for p in mask), max(max(p[::2]) for p in mask)
    top, bottom = min(min(p[1::2]) for p in mask), max(max(p[1::2]) for p in mask)
    corners = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    return corners if corners[0] <= corners[2] and corners[1] <= corners[3] else None


def overlap(box: Corners, other: Corners) -> float:
    """Intersection over union."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = [max(b[2] - b[0], 0) * max(b[3] - b[1], 0) for b in (box, other)]
    return both / (sum(areas) - both) if both else 0.0


def _meanings(box: list[float], size: tuple[int, int]) -> dict[str, Corners]:
    """What else the numbers of a box may stand for."""
    a, b, c, d = box
    width, height = size
    x, y, w, h = a * width, b * height, c * width, d * height
    return {
        "x, y of the centre, width and height": (a - c / 2, b - d / 2, a + c / 2, b + d / 2),
        "x1, y1, x2, y2": (a, b, c, d),
        "units of 0 to 1": (x, y, x + w, y + h),
        "units of 0 to 1, of the centre": (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
        "y, x, height, width": (b, a, b + d, a + c),
    }
