"""Colours of classes: a class keeps its colour, however many others there are.

Each colour is the one farthest from all before it. Distances are of OKLab (Ottosson 2020), as
normal and as red-green blind eyes see them (Viénot, Brettel and Mollon 1999): colours differ in
lightness, not in hue alone.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Colour = tuple[int, int, int]  # RGB, 0 to 255

_FIRST = (255, 112, 32)
_STEP = 12  # between the colours that are tried
_MOST = 256  # colours; more of them cannot be told apart, so they repeat
_LIGHTNESS = (0.55, 0.86)  # of OKLab: visible on black and on white
_CHROMA = (0.11, 0.25)  # of OKLab: no greys, nothing that glares
_DIFFERENT = 8  # of 255: mean distance of a colour to the next one; ADE20K's 150 have 14
_TO_LMS = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]])
_TO_LAB = np.array(
    [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
)
# Linear RGB as protanopes and deuteranopes see it.
_PROTAN = np.array([[0.1124, 0.8876, 0.0], [0.1124, 0.8876, 0.0], [0.0040, -0.0040, 1.0]])
_DEUTAN = np.array([[0.2928, 0.7072, 0.0], [0.2928, 0.7072, 0.0], [-0.0223, 0.0223, 1.0]])


def colours(count: int) -> tuple[Colour, ...]:
    """Colours of so many classes; the first of them are those of fewer classes."""
    found = _farthest(32 if count <= 32 else _MOST)
    return tuple(found[i % len(found)] for i in range(count))


def palette_for(count: int, own: Any = None) -> tuple[Colour, ...]:
    """The palette of a data set if it has a legible one for its classes, else ours.

    Args:
        count: How many classes there are.
        own: What a data set says is its palette; anything.
    """
    try:
        given = np.asarray(own, np.float64)
    except (TypeError, ValueError):
        return colours(count)
    if given.shape != (count, 3) or not ((given >= 0) & (given <= 255)).all():
        return colours(count)
    apart = np.abs(given[:, None] - given).max(-1)
    np.fill_diagonal(apart, 255)
    if count and apart.min(1).mean() < _DIFFERENT:
        return colours(count)
    return tuple((int(r), int(g), int(b)) for r, g, b in given)


def text_colour(plate: Colour) -> Colour:
    """Black or white, whichever has more contrast on a colour (WCAG 2)."""
    luminance = float(_linear(np.array(plate)) @ (0.2126, 0.7152, 0.0722))
    return (0, 0, 0) if luminance > 0.18 else (255, 255, 255)


def _linear(rgb: Array) -> Array:
    """Linear light, 0 to 1, of sRGB from 0 to 255."""
    share = rgb / 255
    light: Array = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return light


def _within(values: Array, limits: tuple[float, float]) -> Array:
    inside: Array = (values >= limits[0]) & (values <= limits[1])
    return inside


def _oklab(light: Array) -> Array:
    lab: Array = np.cbrt(light.clip(0, 1) @ _TO_LMS.T) @ _TO_LAB.T
    return lab


@lru_cache
def _farthest(count: int) -> list[Colour]:
    """So many colours, each the farthest from those before it."""
    axis = np.arange(0, 256, _STEP)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    rgb: Array = np.concatenate([[_FIRST], grid])
    light: Array = _linear(rgb)
    lab = _oklab(light)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    usable = _within(lab[:, 0], _LIGHTNESS) & _within(chroma, _CHROMA)
    rgb, light = rgb[usable], light[usable]
    seen = [_oklab(light @ eye.T) for eye in (np.eye(3), _PROTAN, _DEUTAN)]
    nearest = np.full(len(rgb), np.inf)
    chosen: list[int] = []
    for _ in range(count):
        # Rounded, so that every machine chooses the same of two that are as far.
        best = int(np.argmax(nearest.round(6))) if chosen else 0
        chosen.append(best)
        normal, protan, deutan = (np.linalg.norm(lab - lab[best], axis=1) for lab in seen)
        nearest = np.minimum(nearest, normal / 2 + protan / 4 + deutan / 4)
    return [(int(r), int(g), int(b)) for r, g, b in rgb[chosen]]
