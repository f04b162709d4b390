"""What a model found in one image, for all tasks: the values. `Result` adds their uses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hiera_dense.errors import SetupError, some
from hiera_dense.predict.palette import Colour

Array = NDArray[Any]
Task = Literal["instances", "segmentation", "classification"]

BEST = 5  # classes of an image that are reported


class Crop(NamedTuple):
    """A mask, of which only the part around the object is kept.

    `pixels` is bool, shape (h, w), and lies `top` and `left` px from the corner of the image.
    """

    top: int
    left: int
    pixels: Array

    @classmethod
    def of(cls, mask: Array) -> "Crop":
        """The smallest crop of a mask of a whole image, bool, shape (H, W)."""
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if not rows.size:
            return cls(0, 0, np.zeros((0, 0), bool))
        top, left = int(rows[0]), int(columns[0])
        return cls(top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())

    def whole(self, size: tuple[int, int]) -> Array:
        """The mask of an image of size (H, W), bool, shape (H, W)."""
        mask = np.zeros(size, bool)
        height, width = self.pixels.shape
        mask[self.top : self.top + height, self.left : self.left + width] = self.pixels
        return mask


@dataclass(frozen=True, eq=False)
class Found:
    """What a model found in one image.

    A detector gives boxes, scores, labels and, if it predicts them, masks: one of each for an
    object, best first. A segmenter gives a segmentation, a classifier the scores of all classes;
    both give no objects.

    Args:
        size: Height and width of the image, px.
        classes: Names of all classes of the model; a label is a place in them.
        palette: A colour for each class.
        boxes: Left, top, right and bottom, px, float32, shape (n, 4).
        scores: From 0 to 1, float32, shape (n,).
        labels: int64, shape (n,).
        crops: Masks of the objects; None for a model without masks.
        segmentation: The label of each pixel, uint8 or int32, shape (H, W); of segmenters only.
        class_scores: Probabilities of all classes, float32, shape (classes,); of classifiers only.
        image: The pixels, RGB, uint8, shape (H, W, 3), to draw on; None where they are not kept.
        path: Where the image came from.
    """

    size: tuple[int, int]
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    boxes: Array = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    scores: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    labels: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    crops: tuple[Crop, ...] | None = None
    segmentation: Array | None = None
    class_scores: Array | None = None
    image: Array | None = None
    path: str | None = None

    def __len__(self) -> int:
        """The number of objects."""
        return len(self.labels)

    def __repr__(self) -> str:
        found = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        if self.segmentation is not None:
            found = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
        if self.class_scores is not None:
            found = ", ".join(f"{name} {score:.0%}" for name, score in self.best.items())
        height, width = self.size
        return f"{type(self).__name__}({self.path or 'image'}, {height} x {width} px: {found})"

    @property
    def names(self) -> list[str]:
        """The class of each object, by name."""
        return [self.classes[label] for label in self.labels]

    @property
    def counts(self) -> dict[str, int]:
        """How many objects of each class there are, in the order of the classes."""
        labels, counts = np.unique(self.labels, return_counts=True)
        return {self.classes[label]: int(n) for label, n in zip(labels, counts, strict=True)}

    @property
    def shares(self) -> dict[str, float]:
        """The share of pixels of each class that a segmentation has, largest first."""
        shares: dict[str, float] = {}
        for label, share in self.label_shares.items():
            name = self.classes[label]
            shares[name] = shares.get(name, 0) + share
        return shares

    @property
    def label_shares(self) -> dict[int, float]:
        """The shares by label, for the labels that are of a class."""
        if self.segmentation is None:
            return {}
        counts = np.bincount(self.segmentation.ravel(), minlength=len(self.classes))
        found = [label for label in np.argsort(-counts, kind="stable") if counts[label]]
        return {
            int(label): float(counts[label] / self.segmentation.size)
            for label in found
            if label < len(self.classes)
        }

    @property
    def best(self) -> dict[str, float]:
        """The five classes that a classifier gives the highest probabilities, highest first."""
        return {self.classes[label]: score for label, score in self.label_scores.items()}

    @property
    def label_scores(self) -> dict[int, float]:
        """The same by label."""
        if self.class_scores is None:
            return {}
        order = np.argsort(-self.class_scores, kind="stable")[:BEST]
        return {int(label): float(self.class_scores[label]) for label in order}

    @property
    def masks(self) -> Array | None:
        """Masks of the objects, bool, shape (n, H, W); made anew each time.

        None for a model without masks.
        """
        if self.crops is None:
            return None
        masks = np.zeros((len(self.crops), *self.size), bool)
        for mask, crop in zip(masks, self.crops, strict=True):
            mask[...] = crop.whole(self.size)
        return masks

    def keep(self, score: float = 0.0, classes: Sequence[str] | None = None) -> Self:
        """The objects of at least this score, and of these classes.

        A segmentation, and scores of classes, stay as they are.

        Raises:
            SetupError: The model has no such class.
        """
        kept = self.scores >= score
        if classes is not None:
            if isinstance(classes, str) or not isinstance(classes, Iterable):
                raise SetupError(f"classes {classes!r}; expected a list of {some(self.classes)}")
            if unknown := [name for name in classes if name not in self.classes]:
                raise SetupError(f"classes {some(unknown)}; expected of {some(self.classes)}")
            kept &= np.isin(self.labels, [self.classes.index(name) for name in classes])
        crops = self.crops
        if crops is not None:
            crops = tuple(crop for crop, is_kept in zip(crops, kept, strict=True) if is_kept)
        return replace(
            self,
            boxes=self.boxes[kept],
            scores=self.scores[kept],
            labels=self.labels[kept],
            crops=crops,
        )
