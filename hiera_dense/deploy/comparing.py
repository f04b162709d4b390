"""How two runs of one model compare: a file and PyTorch, on the same images."""

import numpy as np

from hiera_dense.predict.found import Array, Crop
from hiera_dense.predict.results import Result

PIXELS = 0.999  # share of pixels with the same label
OBJECTS = 0.99  # share of objects that both find
_IOU = 0.99  # of boxes and masks
_SCORE = 1e-3
_MARGIN = 0.01  # of scores above the lowest one: nearer to it an object may be there or not
_SMALL = 400  # px: of smaller masks a few pixels at the edge may differ


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
        self.images = self.all = self.same = 0
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
        """Whether the file may be kept."""
        return self.share >= self.least

    def __str__(self) -> str:
        """In words."""
        sizes = ", ".join(f"{height} x {width}" for height, width in sorted(set(self.sizes))[:4])
        where = f"{self.images} images ({sizes} px)"
        if self.task == "segmentation":
            return f"{self.share:.4%} of pixels have {self.whose} label, on {where}"
        masks = "" if self.mask == 1 else f", mean IoU of masks {self.mask:.4f}"
        return (
            f"{self.same} of {self.all} objects of {self.whose}, scores differ by "
            f"{self.score:.0e} at most{masks}, on {where}"
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
        lowest = float(theirs.scores.min(initial=1.0)) + _MARGIN
        ious = _ious(theirs.boxes, ours.boxes)
        ious[theirs.labels[:, None] != ours.labels[None]] = 0
        near = np.abs(theirs.scores[:, None] - ours.scores[None])
        ious[near >= self._score] = 0
        masks = []
        for i in np.flatnonzero(theirs.scores >= lowest):
            self.all += 1
            best = int(ious[i].argmax()) if len(ours) else -1
            if best < 0 or ious[i, best] < self._iou:
                continue
            if ours.crops is not None and theirs.crops is not None:
                share = mask_iou(ours.crops[best], theirs.crops[i], theirs.size)
                masks.append(share)
                if share < self._iou and theirs.crops[i].pixels.sum() > _SMALL:
                    continue
            self.same += 1
            self.score = max(self.score, float(near[i, best]))
        if masks:
            self.mask = min(self.mask, float(np.mean(masks)))


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
