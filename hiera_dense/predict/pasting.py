"""Resizes images and masks with NumPy, as OpenCV and PyTorch do it."""

import numpy as np

from hiera_dense.predict.found import Array, Crop

Size = tuple[int, int]


def resized(image: Array, size: Size) -> Array:
    """An image of another size, bilinear: by OpenCV if it is installed.

    Without it values of uint8 may differ from OpenCV's by 1.

    Args:
        image: (H, W, C).
        size: Height and width.
    """
    if image.shape[:2] == size:
        return image
    try:
        import cv2
    except ImportError:
        rows, columns = (
            _resizing(before, after) for before, after in zip(image.shape[:2], size, strict=True)
        )
        x = np.einsum("hH,HWC->hWC", rows, image.astype(np.float32), optimize=True)
        x = np.einsum("wW,hWC->hwC", columns, x, optimize=True)
        is_whole = image.dtype.kind in "ui"
        kept: Array = (np.floor(x + 0.5) if is_whole else x).astype(image.dtype)
        return kept
    x = cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=cv2.INTER_LINEAR)
    return x[..., None] if x.ndim == 2 else x


def resize_mask(mask: Array, padded: Size, scaled: Size, size: Size) -> Array:
    """A map of a padded image as one of the original image: resized, cropped, and resized again.

    Args:
        mask: (h, w).
        padded: Height and width of the padded image.
        scaled: Without the padding.
        size: Of the original image.
    """
    rows, columns = (
        _resizing(scaled[axis], size[axis])
        @ _resizing(mask.shape[axis], padded[axis])[: scaled[axis]]
        for axis in (0, 1)
    )
    found: Array = rows @ mask @ columns.T
    return found


def paste(mask: Array, box: Array, size: Size, threshold: float) -> Crop:
    """The mask of a box as a mask of the image, as mmdet pastes it.

    Args:
        mask: Probabilities in the box, (h, w).
        box: Left, top, right and bottom, px.
        size: Height and width of the image.
        threshold: From which on a pixel is of the object.
    """
    ranges, weights = [], []
    for axis in (0, 1):
        low, high = box[1 - axis], box[3 - axis]
        start = max(int(np.floor(low)) - 1, 0)
        end = min(int(np.ceil(high)) + 1, size[axis])
        length = mask.shape[axis]
        centres = np.arange(start, max(start, end), dtype=np.float32) + np.float32(0.5)
        with np.errstate(divide="ignore", invalid="ignore"):
            places = (centres - low) / (high - low) * 2 - 1
        places[~np.isfinite(places)] = 0
        ranges.append(start)
        weights.append(_weights(((places + 1) * length - 1) / 2, length))
    pixels = weights[0] @ mask @ weights[1].T >= threshold
    top, left, shape = Crop.of(pixels)
    return Crop(top + ranges[0], left + ranges[1], shape)


def _resizing(before: int, after: int) -> Array:
    """The matrix that resizes an axis, shape (after, before); like align_corners=False."""
    centres = np.arange(after, dtype=np.float32) + np.float32(0.5)
    places = centres * np.float32(before / after) - np.float32(0.5)
    return _weights(places.clip(0, before - 1), before)


def _weights(places: Array, length: int) -> Array:
    """The share of each cell at places between cells, zero beyond them; (places, length)."""
    matrix = np.zeros((len(places), length), np.float32)
    first = np.floor(places)
    for cell, share in ((first, first + 1 - places), (first + 1, places - first)):
        is_in = (cell >= 0) & (cell < length)
        matrix[np.flatnonzero(is_in), cell[is_in].astype(np.int64)] += share[is_in]
    return matrix
