"""What twins refuse: parts and settings of models that their graphs would not honour."""

from typing import Any

from hiera_dense.errors import SetupError
from hiera_dense.model.arch import AUTO


def require_kind(name: str, part: Any, *kinds: str) -> None:
    """Refuse a part of a class that no twin knows; a subclass may compute something else.

    Args:
        name: Of the part, as a config has it.
        part: It.
        kinds: Names of the classes that are known.

    Raises:
        SetupError: It is of none of them.
    """
    if type(part).__name__ not in kinds:
        raise SetupError(
            f"{name} {type(part).__name__} cannot be exported; expected {' or '.join(kinds)}"
        )


def require_value(name: str, value: Any, expected: Any) -> None:
    """Refuse a setting that a twin would ignore.

    Raises:
        SetupError: It is not the expected one.
    """
    if value != expected:
        raise SetupError(f"{name}={value!r} cannot be exported; expected {expected!r}")


def require_at_most(name: str, value: int, most: int) -> None:
    """Refuse a number of objects that a model cannot give.

    Raises:
        SetupError: It is larger.
    """
    if value > most:
        raise SetupError(
            f"{name} {value}; expected {most} at most to export it: the number of queries, times "
            "that of classes"
        )


def require_one_size(backbone: Any, size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Refuse windows that follow the image, where images have many sizes.

    Args:
        backbone: Of the model.
        size: What all images have before the graph, if they have the same.

    Returns:
        The size, if the graph is for that alone.

    Raises:
        SetupError: The backbone is ours, and has such windows.
    """
    arch = getattr(getattr(backbone, "trunk", None), "arch", None)
    if getattr(arch, "window_spec", None) != AUTO:
        return None
    if size is None:
        raise SetupError(
            "backbone.window_spec 'auto' cannot be exported for images of any size: its windows "
            "follow the image, and a file holds one choice of them; expected a number for each "
            "stage, or test images of one size (Resize, then Pad with both sides as long as its "
            "longer one)"
        )
    return size


def require_whole(test_cfg: Any) -> None:
    """Refuse a segmenter that goes over an image in patches.

    Raises:
        SetupError: It does.
    """
    mode = test_cfg.get("mode", "whole")
    if mode != "whole":
        raise SetupError(
            f"test_cfg.mode {mode!r}; expected 'whole' to export it: a graph sees a whole image"
        )
