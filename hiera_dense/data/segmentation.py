"""The masks of an annotation file: polygons and RLE, before pycocotools draws them."""

from typing import Any

import numpy as np

from hiera_dense.data.findings import Findings, shown
from hiera_dense.data.rle import read_counts
from hiera_dense.data.values import Entry, coordinates

REACH = 10  # how far from an image a coordinate may lie, in sides of the image
MAX_OUTLINE = 2e6  # px of all sides of a polygon; pycocotools takes about 80 bytes for each


def check_mask(
    annotation: Entry, size: tuple[int, int], where: str, findings: Findings
) -> float | None:
    """Check a mask, if there is one; returns its area, where that is easy."""
    mask = annotation.get("segmentation")
    if mask is None or mask == [] or mask == {}:
        return None
    if isinstance(mask, dict):
        return _rle(mask, size, where, findings)
    if not isinstance(mask, list):
        kind = "masks that are neither polygons nor RLE; expected [[x, y, ...], ...] or "
        findings.error(f'{kind}{{"size": ..., "counts": ...}}', f"{where}: {shown(mask)}")
        return None
    if not any(isinstance(part, (list, dict)) for part in mask):
        mask = [mask]
        findings.change("polygons that are not in a list of polygons", where)
    polygons = [_polygon(part, size, where, findings) for part in mask]
    if None in polygons:
        return None
    whole = [polygon for polygon in polygons if polygon]
    if not whole:
        kind = "masks without an area; expected a polygon of three points or more"
        findings.error(kind, f"{where}: {shown(mask)}")
        return None
    if len(whole) < len(polygons):
        findings.change("polygons of fewer than three points beside others, left away", where)
    if len(whole) < len(mask) or any(a is not b for a, b in zip(whole, mask, strict=True)):
        mask = whole
    annotation["segmentation"] = mask
    return sum(map(_area, whole)) if annotation.get("area") is None else None


def _polygon(
    polygon: Any, size: tuple[int, int], where: str, findings: Findings
) -> list[float] | None:
    """Coordinates of a polygon, none where it has fewer than three points; None: an error."""
    example = f"{where}: {shown(polygon)}"
    if isinstance(polygon, dict):
        kind = 'lists of RLE masks; expected one mask, {"size": ..., "counts": ...}'
        findings.error(kind, example)
        return None
    numbers = coordinates(polygon) if isinstance(polygon, list) else None
    if numbers is None or len(numbers) % 2:
        kind = "polygons that are not x, y, x, y, ...; expected an even number of finite numbers"
        findings.error(kind, example)
        return None
    if len(numbers) < 6:
        return []
    least, most = min(numbers), max(numbers)
    if max(-least, most) > REACH * max(size) or (
        len(numbers) * (most - least) > MAX_OUTLINE and _outline(numbers) > MAX_OUTLINE
    ):
        kind = f"polygons of more than {REACH} times their image, or of endless outline"
        findings.error(f"{kind}; expected px of the image", f"{example} in {size}")
        return None
    if numbers is not polygon:
        findings.change("polygons whose numbers are text", example)
    return numbers


def _rle(mask: Entry, size: tuple[int, int], where: str, findings: Findings) -> float | None:
    expected = [size[1], size[0]]
    if mask.get("size") != expected or {*map(type, mask["size"])} != {int}:
        kind = "RLE masks of another size than their image; expected height, width"
        findings.error(kind, f"{where}: {shown(mask.get('size'))}, {expected}")
        return None
    counts = read_counts(mask.get("counts"), size)
    if counts is None:
        kind = "RLE masks that cannot be decoded; expected counts whose sum is width x height"
        findings.error(kind, f"{where}: {shown(mask.get('counts'))}")
        return None
    return float(counts[1::2].sum())


def _points(polygon: list[float]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    points = np.array(polygon, float).reshape(-1, 2)
    return points, np.roll(points, -1, axis=0)


def _outline(polygon: list[float]) -> float:
    points, following = _points(polygon)
    return float(np.abs(following - points).sum())


def _area(polygon: list[float]) -> float:
    (x, y), (next_x, next_y) = (part.T for part in _points(polygon))
    return float(abs((x * next_y - next_x * y).sum()) / 2)
