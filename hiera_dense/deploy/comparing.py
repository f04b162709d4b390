"""How two runs of one model compare: a file and PyTorch, on the same images."""

from typing import NamedTuple

import numpy as np

from hiera_dense.predict.found import Array, Crop
from hiera_dense.predict.results import Result

PIXELS = 0.999  # share of pixels with the same label
OBJECTS = 0.99  # share of objects that both find
_IOU = 0.99  # of boxes and masks
_SCORE = 1e-3
_MARGIN = 0.01  # of scores above the lowest one: nearer to it an object may be there or not
_SMALL = 400  # px: in a smaller mask as many pixels may differ as in one of this area


class Comparison:
    """Sums over images.

    Objects match if they have one label, boxes overlap with the IoU, and scores differ by less
    than the difference. Objects with scores near the lowest score of an image are left out,
    since the number of objects is bounded.

    Args:
        task: `instances` or `segmentation`.
        whose: What the results are compared with, as a genitive.
        iou: Of boxes and masks that match, at least.
        score: The difference.
    """

    def __init__(
        self, task: str, whose: str = "PyTorch's", iou: float = _IOU, score: float = _SCORE
    ) -> None:
        self.task = task
        self.whose = whose
        self._iou, self._score = iou, score
        self.images = self.all = self.same = self.extra = 0
        self.sizes: list[tuple[int, int]] = []
        self.score = 0.0
        self.mask = 1.0

    @property
    def share(self) -> float:
        """Of pixels or objects that are the same."""
        return self.same / self.all if self.all else 1.0

    @property
    def least(self) -> float:
        """The share that a file must reach."""
        return PIXELS if self.task == "segmentation" else OBJECTS

    @property
    def is_equal(self) -> bool:
        """Whether the file may be kept: it finds what is there, and hardly anything else."""
        return self.share >= self.least and self.extra <= (1 - self.least) * self.all

    def __str__(self) -> str:
        """In words."""
        sizes = ", ".join(f"{height} x {width}" for height, width in sorted(set(self.sizes))[:4])
        where = f"{self.images} images ({sizes} px)"
        if self.task == "segmentation":
            return f"{self.share:.4%} of pixels have {self.whose} label, on {where}"
        masks = "" if self.mask == 1 else f", mean IoU of masks {self.mask:.4f}"
        extra = f", and {self.extra} others" if self.extra else ""
        return (
            f"{self.same} of {self.all} objects of {self.whose}, scores differ by "
            f"{self.score:.0e} at most{masks}{extra}, on {where}"
        )

    def add(self, ours: Result, theirs: Result) -> None:
        """Compare what was found in one image."""
        self.images += 1
        self.sizes.append(theirs.size)
        if theirs.segmentation is not None:
            assert ours.segmentation is not None
            self.all += theirs.segmentation.size
            self.same += int((ours.segmentation == theirs.segmentation).sum())
            return
        certain = _certain(theirs.scores)
        partners = self._partners(ours, theirs)
        masks = []
        for place, score in enumerate(theirs.scores):
            if score < certain:
                continue
            self.all += 1
            if (partner := partners.get(place)) is None:
                continue
            self.same += 1
            self.score = max(self.score, abs(float(score - ours.scores[partner.place])))
            if partner.mask is not None:
                masks.append(partner.mask)
        taken = {partner.place for partner in partners.values()}
        self.extra += sum(
            score >= certain and place not in taken for place, score in enumerate(ours.scores)
        )
        if masks:
            self.mask = min(self.mask, float(np.mean(masks)))

    def _partners(self, ours: Result, theirs: Result) -> dict[int, "_Partner"]:
        """For objects of theirs, best first, one of ours, each taken once.

        Of several that fit, such as masks that all fill the image, it is the one whose mask is
        nearest.
        """
        ious = _ious(theirs.boxes, ours.boxes)
        fits = (ious >= self._iou) & (theirs.labels[:, None] == ours.labels[None])
        fits &= np.abs(theirs.scores[:, None] - ours.scores[None]) < self._score
        found: dict[int, _Partner] = {}
        for place in np.argsort(-theirs.scores, kind="stable"):
            candidates = np.flatnonzero(fits[place])
            if not len(candidates):
                continue
            if ours.crops is None or theirs.crops is None:
                best = _Partner(int(candidates[ious[place, candidates].argmax()]), None)
            else:
                crop = theirs.crops[place]
                shares = [mask_iou(ours.crops[i], crop, theirs.size) for i in candidates]
                nearest = int(np.argmax(shares))
                best = _Partner(int(candidates[nearest]), shares[nearest])
                area = max(int(crop.pixels.sum()), _SMALL)
                if (1 - shares[nearest]) * int(crop.pixels.sum()) > (1 - self._iou) * area:
                    continue
            fits[:, best.place] = False
            found[int(place)] = best
        return found


class _Partner(NamedTuple):
    """The object of ours that matches one of theirs.

    Attributes:
        place: In our objects.
        mask: The IoU of the two masks; None without masks.
    """

    place: int
    mask: float | None


def _certain(scores: Array) -> float:
    """The score from which on objects are compared; the ones below may be there or not."""
    if not len(scores):
        return 0.0
    lowest, highest = float(scores.min()), float(scores.max())
    return lowest + min(_MARGIN, (highest - lowest) / 2)


def mask_iou(a: Crop, b: Crop, size: tuple[int, int]) -> float:
    """Intersection over union of two masks; 1 if both are empty."""
    left, right = a.whole(size), b.whole(size)
    union = (left | right).sum()
    return float((left & right).sum() / union) if union else 1.0


def _ious(a: Array, b: Array) -> Array:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - both
    shares: Array = both / np.maximum(union, 1e-9)
    return shares
