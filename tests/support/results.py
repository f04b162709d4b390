"""Made-up results: no network is needed to draw or write them."""

import numpy as np

from hiera_dense.predict.found import Crop
from hiera_dense.predict.palette import colours
from hiera_dense.predict.results import Result

CLASSES = ("disc", "square", "triangle")
SIZE = (120, 160)


def disc(size: tuple[int, int], y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def detections(
    discs: list[tuple[float, float, float]],
    size: tuple[int, int] = SIZE,
    classes: tuple[str, ...] = CLASSES,
    with_masks: bool = True,
    path: str | None = None,
) -> Result:
    """A disc for each (y, x, radius), of one class after the other."""
    masks = [disc(size, *numbers) for numbers in discs]
    crops = tuple(Crop.of(mask) for mask in masks)
    boxes = [(c.left, c.top, c.left + c.pixels.shape[1], c.top + c.pixels.shape[0]) for c in crops]
    rng = np.random.default_rng(0)
    return Result(
        size,
        classes,
        colours(len(classes)),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.95, 0.35, len(discs), dtype=np.float32),
        np.arange(len(discs)) % len(classes),
        crops if with_masks else None,
        image=rng.integers(90, 110, (*size, 3), dtype=np.uint8),
        path=path,
    )
