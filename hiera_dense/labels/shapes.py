"""Geometry of labels: turned rectangles, ellipses, clipping, drawing, turning images upright."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from hiera_dense.data.rle import Counts, counts_of
from hiera_dense.labels.export import Box, Object, Points, Size

Mask = NDArray[Any]
Values = NDArray[Any]
_CORNERS = 64  # of a polygon for an ellipse, whose area is 0.2 % less

# Of a stored image of width w and height h: where a point goes when the image is turned upright.
_Turn = Callable[[Values, Values, int, int], tuple[Values, Values]]
_TURNS: dict[int, _Turn] = {
    2: lambda x, y, w, h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, w, h: (x, h - y),
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),
}
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def rectangle(box: Box) -> Points:
    """The corners of a box, clockwise from the upper left."""
    left, top, right, bottom = box
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def turned(points: Points, degrees: float, pivot: tuple[float, float]) -> Points:
    """Points turned clockwise, as one sees them, about another."""
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    around: Points = (points - pivot) @ np.array([[cos, sin], [-sin, cos]]) + pivot
    return around


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0.0) -> Points:
    """A polygon for an ellipse about (x, y)."""
    angles = np.arange(_CORNERS) * 2 * np.pi / _CORNERS
    points = np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1)
    return turned(points, degrees, (x, y))


def box_around(points: Points) -> Box:
    """The smallest box with all points in it."""
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return float(left), float(top), float(right), float(bottom)


def area(points: Points) -> float:
    """Of a polygon, px."""
    x, y = points.T
    return float(abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2)


def clipped_box(box: Box, size: Size) -> Box:
    """The part of a box that is in the image; its sides may be 0 or less."""
    left, top, right, bottom = box
    return max(left, 0.0), max(top, 0.0), min(right, float(size[0])), min(bottom, float(size[1]))


def clipped(points: Points, size: Size) -> Points:
    """The part of a polygon that is in the image (Sutherland and Hodgman's way)."""
    for axis, limit, side in ((0, 0, 1), (0, size[0], -1), (1, 0, 1), (1, size[1], -1)):
        inside = side * (points[:, axis] - limit) >= 0
        if inside.all():
            continue
        kept = []
        for i, point in enumerate(points):
            before = points[i - 1]
            if inside[i] != inside[i - 1]:
                share = (limit - before[axis]) / (point[axis] - before[axis])
                kept.append(before + share * (point - before))
            if inside[i]:
                kept.append(point)
        points = np.array(kept, float).reshape(-1, 2)
        if not len(points):
            break
    return points


def drawn(thing: Object, size: Size) -> Mask:
    """The mask of an object as COCO's tools draw it, bool, shape (H, W); of a box all of it."""
    width, height = size
    if thing.counts is not None:
        runs = np.repeat(np.arange(len(thing.counts)) % 2, thing.counts)
        return runs.reshape(width, height).T.astype(bool)
    polygons = thing.polygons or [rectangle(thing.box)] if thing.box else thing.polygons
    encoded = rle.frPyObjects([p.ravel().tolist() for p in polygons], height, width)
    mask: Mask = rle.decode(rle.merge(encoded)).astype(bool)
    return mask


def counts_in(part: Mask, offset: tuple[int, int], size: Size) -> Counts:
    """The counts of a mask that is given in part, cut off where it leaves the image.

    Args:
        part: bool, shape (h, w).
        offset: Of its upper left corner in the image, (x, y), px.
        size: Of the image, (W, H), px.
    """
    x, y = (min(max(o, -n), s) for o, n, s in zip(offset, part.shape[::-1], size, strict=True))
    inner = part[max(-y, 0) : size[1] - y, max(-x, 0) : size[0] - x]
    return counts_of(inner, (max(y, 0), max(x, 0)), (size[1], size[0]))


def turn_upright(thing: Object, orientation: int, stored: Size) -> None:
    """Turn an object with its image, from how the file has it to upright.

    Args:
        thing: The object, which is changed.
        orientation: EXIF's, 2 to 8.
        stored: The size of the image as the file has it.
    """
    turn = _TURNS[orientation]

    def turned_points(points: Points) -> Points:
        x, y = points.T
        return np.stack(turn(x, y, *stored), 1)

    if thing.counts is not None:
        upright = turned_mask(drawn(thing, stored), orientation)
        thing.counts = counts_of(upright, (0, 0), (upright.shape[0], upright.shape[1]))
    thing.polygons = [turned_points(polygon) for polygon in thing.polygons]
    if thing.box:
        thing.box = box_around(turned_points(rectangle(thing.box)))


def turned_mask(mask: Mask, orientation: int) -> Mask:
    """An index mask or an image turned upright, shape (H, W) or (H, W, C)."""
    image = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(image.transpose(_TRANSPOSES[orientation])).astype(mask.dtype)
