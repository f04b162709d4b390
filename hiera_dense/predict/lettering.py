"""Text on pictures: fonts, names that fit, and places for labels that cover little."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from hiera_dense.errors import shown
from hiera_dense.predict.palette import Colour, text_colour

Array = NDArray[Any]
Font = ImageFont.FreeTypeFont
Box = tuple[int, int, int, int]  # left, top, right and bottom, px

_LONGEST = 60  # characters of a name
_CROWDED = 0.25  # of a label may lie on other labels
# For names that Pillow's own font has no letters for; the first that has them all is taken.
_FONTS = (
    *("DejaVuSans.ttf", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "msyh.ttc"),
    *("PingFang.ttc", "YuGothR.ttc", "malgun.ttf", "Nirmala.ttf", "arial.ttf"),
)


def font_for(texts: str, size: int) -> Font:
    """A font that has all characters of some texts; Pillow's own if there is none."""
    return _font(frozenset(c for c in texts if not c.isascii()), size)


@lru_cache(maxsize=128)
def _font(characters: frozenset[str], size: int) -> Font:
    own = ImageFont.load_default(size)
    assert isinstance(own, Font)
    if _has(own, characters):
        return own
    for name in (*_FONTS, *_fonts_of_matplotlib()):
        try:
            font = ImageFont.truetype(name, size)
        except OSError:  # not on this machine
            continue
        if _has(font, characters):
            return font
    return own


def _fonts_of_matplotlib() -> list[str]:
    """The font that matplotlib brings along, if it is installed; it is not imported."""
    found = find_spec("matplotlib")
    folders = found.submodule_search_locations if found else None
    return [str(Path(f, "mpl-data/fonts/ttf/DejaVuSans.ttf")) for f in folders or ()]


def _has(font: Font, characters: frozenset[str]) -> bool:
    """Whether none of the characters is drawn as the box that stands for missing ones."""
    missing = bytes(font.getmask("\uffff"))
    return all(bytes(font.getmask(character)) != missing for character in characters)


def fitting(text: str, font: Font, width: float) -> str:
    """As much of a text as fits into a width in px, on one line."""
    text = shown(text, _LONGEST)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def height_of(font: Font) -> int:
    """Height of a line, px."""
    return sum(font.getmetrics())


class Labels:
    """Labels of objects of one picture, placed one after the other.

    Args:
        size: Height and width of the picture, px.
        boxes: Of all objects, shape (n, 4); a label that covers much of one is moved.
        font: Of all labels.
    """

    def __init__(self, size: tuple[int, int], boxes: Array, font: Font) -> None:
        self.size = size
        self.boxes = boxes
        self.font = font
        self.margin = max(2, round(font.size / 4))  # left and right of a text, px
        self.placed: list[tuple[Box, str, Colour]] = []

    def place(self, box: Array, texts: list[str], colour: Colour) -> None:
        """Find a place for the first of some texts that has one; none if all is taken."""
        height, width = self.size
        for text in texts:
            text = fitting(text, self.font, width - 2 * self.margin)
            plate_width = min(width, round(self.font.getlength(text)) + 2 * self.margin)
            plate_height = min(height, height_of(self.font))
            plates = _places(box, plate_width, plate_height, self.size)
            taken = np.array([plate for plate, *_ in self.placed], np.float64).reshape(-1, 4)
            on_labels = _common(plates, taken).sum(1) / (plate_width * plate_height)
            area = (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])
            on_objects = (_common(plates, self.boxes) / area.clip(1)).sum(1)
            # Earlier places are better ones.
            cost = 4 * on_labels + on_objects + 0.05 * np.arange(len(plates))
            best = int(cost.argmin())
            if on_labels[best] <= _CROWDED:
                left, top, right, bottom = (int(side) for side in plates[best])
                self.placed.append(((left, top, right, bottom), text, colour))
                return

    def draw(self, canvas: ImageDraw.ImageDraw) -> None:
        """Draw all labels, the first ones on top."""
        for (left, top, right, bottom), text, colour in reversed(self.placed):
            canvas.rectangle((left, top, right - 1, bottom - 1), fill=colour)
            at = (left + self.margin, (top + bottom) / 2)
            canvas.text(at, text, text_colour(colour), self.font, anchor="lm")


def _places(box: Array, width: int, height: int, size: tuple[int, int]) -> Array:
    """Where a label of this size can be, best first, moved into the picture, shape (n, 4)."""
    left, top, right, bottom = (float(side) for side in box)
    ends, middle = right - width, (left + right - width) / 2
    corners = [
        *((left, top - height), (left, top), (left, bottom), (ends, top - height)),
        *((ends, bottom), (right, top), (left - width, top), (left, bottom - height)),
        *((ends, top), (ends, bottom - height), (middle, (top + bottom - height) / 2)),
        *((left, top - 2 * height), (left, bottom + height)),
        *((left, top + n * height) for n in (1, 2, 3)),
    ]
    places = np.array(corners).round()
    limits = size[1] - width, size[0] - height
    places = places.clip(0, np.maximum(limits, 0))
    return np.concatenate([places, places + np.array([width, height])], axis=1)


def _common(some: Array, others: Array) -> Array:
    """The area that boxes have in common, shape (len(some), len(others))."""
    top_left = np.maximum(some[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(some[:, None, 2:], others[None, :, 2:])
    common: Array = (bottom_right - top_left).clip(0).prod(-1)
    return common
