"""Which settings of a training follow from which property of the data. The rules are our choice."""

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from hiera_dense.data.survey import shares

SIZES = (640, 1024)  # px, the least and the most that is chosen
JITTER = (0.5, 2.0)  # how much images are resized in training
STRIDES = (4, 8, 16, 32, 64)  # px, of the maps that have anchors
ANCHORS = (8, 4, 2, 1)  # scales, in strides; of equals the first
BATCHES = (2, 8)  # the least and the most that is chosen
_RATE = 2e-4  # of AdamW at a batch of 16, for pretrained weights
_LEAST_ITERATIONS = 1000
_RANDOM = 3  # times the rate and the least iterations, where all weights are random
_VALIDATIONS = 15
_COMMON = 0.1  # a share of images; no class above it is repeated


def size_for(sides: NDArray[np.float64]) -> int:
    """The median longer side, rounded up to a multiple of 64 px, from 640 to 1024."""
    least, most = SIZES
    return int(min(most, max(least, ceil(float(np.median(sides)) / 64) * 64)))


def batch_for(images: int) -> int:
    """A power of two, 2 to 8, that has at least 8 iterations in an epoch if it is above 2."""
    least, most = BATCHES
    batch = least
    while batch < most and images // (2 * batch) >= 8:
        batch *= 2
    return min(batch, images)


def epochs_for(images: int, iterations: int, is_random: bool = False) -> int:
    """1500 / sqrt(images), from 12 to 300, but as many as give 1000 iterations.

    Args:
        images: To train on.
        iterations: Of an epoch.
        is_random: Whether the backbone starts from random weights; then 3000 iterations.
    """
    epochs = min(300, max(12, round(1500 / sqrt(images))))
    least = _LEAST_ITERATIONS * (_RANDOM if is_random else 1)
    return max(epochs, ceil(least / iterations))


def anchors_for(sides: NDArray[np.float64]) -> tuple[int, float]:
    """The scale whose anchors fit most boxes, and the share of boxes that they fit.

    The square of side b and that of side a, one in the other, have an IoU of 0.5 where the sides
    differ by a factor of sqrt(2). Strides double from map to map, so there is no gap between.

    Args:
        sides: Roots of the areas of the boxes, px.
    """
    reach = {
        scale: float(
            (
                (sides >= scale * STRIDES[0] / sqrt(2)) & (sides <= scale * STRIDES[-1] * sqrt(2))
            ).mean()
        )
        for scale in ANCHORS
    }
    most = max(reach.values())
    best = next(scale for scale in ANCHORS if reach[scale] >= most - 0.005)
    return best, reach[best]


def min_box_for(boxes: NDArray[np.float64]) -> float:
    """1 px, or less where the smallest box would be smaller at the least jitter, so none is lost.

    Args:
        boxes: Width and height in px, shape (M, 2).
    """
    if not len(boxes):
        return 0.0
    return max(0.01, min(1.0, int(float(boxes.min()) * JITTER[0] * 100) / 100))


def repeat_threshold(share: Sequence[float]) -> float:
    """The share of images below which the images with a class are repeated; 0: none is.

    It is the median over the classes, at most 0.1. Nothing is repeated unless a class is in less
    than a quarter of it.

    Args:
        share: Of images with a class, for each class that is in one.
    """
    threshold = round(min(_COMMON, float(np.median(share))), 4) if share else 0.0
    return threshold if share and min(share) < threshold / 4 else 0.0


def repetition(labels: Sequence[frozenset[int]], below: float) -> float:
    """How many times longer repeated images make an epoch; as mmengine's ClassBalancedDataset."""
    if not below:
        return 1.0
    share = shares(labels)
    times = [ceil(max([1.0, *(sqrt(below / share[label]) for label in found)])) for found in labels]
    return sum(times) / len(times)


def rate_for(batch: int, is_random: bool = False) -> float:
    """The learning rate of AdamW: 2e-4 at a batch of 16, and with the root of the batch.

    Args:
        batch: Of all processes.
        is_random: Whether the backbone starts from random weights; then three times as much.
    """
    return float(f"{_RATE * (_RANDOM if is_random else 1) * sqrt(batch / 16):.3g}")


def val_interval_for(epochs: int) -> int:
    """Epochs between two validations, of which a run has up to 15."""
    return ceil(epochs / _VALIDATIONS)


def warmup_for(iterations: int) -> int:
    """Iterations of warm-up: a twentieth of all, at most 500."""
    return min(500, ceil(iterations / 20))
