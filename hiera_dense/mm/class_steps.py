"""How a classifier's validation images were resized and cropped."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hiera_dense.errors import SetupError, shown

MODES = ("bilinear", "bicubic")


class ClassSteps(NamedTuple):
    """From an image to what the network takes.

    Attributes:
        shorter: Of an image's sides after resizing, px.
        mode: Of the interpolation, one of `MODES`.
        crop: Height and width of what is kept, around the middle, px.
    """

    shorter: int
    mode: str
    crop: tuple[int, int]


def class_steps(name: str, transforms: Any) -> ClassSteps:
    """Read torchvision's transforms from a config.

    Args:
        name: Of the model, for messages.
        transforms: As `hiera_dense.ClassFolders` takes them.

    Raises:
        SetupError: They are not Resize and then CenterCrop.
    """
    match transforms:
        case [
            {"type": "Resize", "size": int(shorter) | [int(shorter)], **resizing},
            {"type": "CenterCrop", "size": size, **cropping},
        ] if not cropping and _is_known(resizing):
            sides = (size, size) if isinstance(size, int) else size
            if _are_sides((shorter, shorter)) and _are_sides(sides):
                mode = str(resizing.get("interpolation", "bilinear"))
                return ClassSteps(shorter, mode, (sides[0], sides[1]))
    raise SetupError(
        f"{name}: its validation images go through {shown(str(transforms))}; expected "
        "Resize(size=NUMBER, interpolation='bicubic' or 'bilinear') and then CenterCrop(size=...)"
    )


def _is_known(resizing: Mapping[Any, Any]) -> bool:
    has_known = set(resizing) <= {"interpolation", "antialias"}
    return has_known and resizing.get("interpolation", "bilinear") in MODES


def _are_sides(sides: Any) -> bool:
    is_pair = isinstance(sides, Sequence) and len(sides) == 2
    return is_pair and all(type(side) is int and 0 < side < 10_000 for side in sides)
