"""What an annotation tool exported, whatever its format: pictures, objects, and what was lost."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hiera_dense.data.findings import Found
from hiera_dense.data.rle import Counts

Points = NDArray[np.float64]  # (n, 2), x and y in px
Box = tuple[float, float, float, float]  # left, top, right, bottom in px
Size = tuple[int, int]  # width, height in px
Colour = tuple[int, int, int]

TRAIN, VAL, TEST = "train", "val", "test"
_SPLITS = {
    TRAIN: ("train", "training", "trainset"),
    VAL: ("val", "valid", "validate", "validation", "dev"),
    TEST: ("test", "testing"),
}


class Tally:
    """How many there are of each kind, with examples: what was read, changed and lost."""

    def __init__(self) -> None:
        self.read: dict[str, Found] = {}
        self.changed: dict[str, Found] = {}
        self.lost: dict[str, Found] = {}

    def take(self, kind: str, where: object) -> None:
        self.read.setdefault(kind, Found()).add(where)

    def change(self, kind: str, where: object) -> None:
        self.changed.setdefault(kind, Found()).add(where)

    def lose(self, kind: str, where: object) -> None:
        self.lost.setdefault(kind, Found()).add(where)

    def lines(self) -> list[str]:
        """A line for each kind; what was lost comes last."""
        told = [f"read: {kind}: {found.total}" for kind, found in self.read.items()]
        for title, kinds in (("changed", self.changed), ("lost", self.lost)):
            told += [f"{title}: {k}: {f.total}, first {f[0]}" for k, f in kinds.items()]
        return told

    def as_json(self) -> dict[str, dict[str, int]]:
        """The numbers alone."""
        parts = {"read": self.read, "changed": self.changed, "lost": self.lost}
        return {name: {k: f.total for k, f in part.items()} for name, part in parts.items()}


@dataclass
class Object:
    """An object: a box, and a mask if it has polygons or counts.

    Args:
        label: The name of its class.
        where: File and place, for messages.
        box: None where the mask tells it.
        polygons: Its parts.
        counts: Runs of a mask of the whole image, by columns, in place of polygons.
        group: Objects of one image, label and group are parts of one object; None: it has none.
        depth: Objects of a larger one cover the others.
    """

    label: str
    where: str
    box: Box | None = None
    polygons: list[Points] = field(default_factory=list)
    counts: Counts | None = None
    group: Any = None
    depth: int = 0

    @property
    def has_mask(self) -> bool:
        return bool(self.polygons) or self.counts is not None


@dataclass
class Picture:
    """An image with its labels.

    Args:
        path: The image.
        split: One of the three, or None: the format tells none.
        objects: In px of `stated`.
        stated: The size of the image that its labels are for; None: that of the image, upright.
        mask: A file whose colours are classes.
        content: The bytes of the image, where no file of that path is there.
    """

    path: Path
    split: str | None = None
    objects: list[Object] = field(default_factory=list)
    stated: Size | None = None
    mask: Path | None = None
    content: bytes | None = None


class Export(NamedTuple):
    """What was read.

    Attributes:
        pictures: All images that are there, those without objects too.
        classes: Names, in the order of their numbers.
        colours: Of `Picture.mask`: the class of each, or None for pixels that are ignored.
    """

    pictures: list[Picture]
    classes: list[str]
    colours: dict[Colour, str | None] = {}  # noqa: RUF012


def split_named(name: str | None) -> str | None:
    """Which split a tool means by a name, None where it is none."""
    plain = (name or "").lower()
    return next((split for split, names in _SPLITS.items() if plain in names), None)


def classes_of(pictures: list[Picture], known: list[str] | None = None) -> list[str]:
    """The known classes, and those of objects that are none of them, sorted."""
    used = {thing.label for picture in pictures for thing in picture.objects}
    return [*(known or []), *sorted(used - set(known or []))]
