"""What happens to an image before the graph, from the transforms of test images."""

from collections.abc import Sequence
from typing import Any

from hiera_dense.errors import SetupError
from hiera_dense.mm.class_steps import ClassSteps

_READING = ("LoadImageFromFile", "LoadAnnotations", "PackDetInputs", "PackSegInputs")


def class_meta(steps: ClassSteps) -> dict[str, Any]:
    """How the runtime resizes and crops an image for a classifier."""
    resize = dict(shorter=steps.shorter, mode=steps.mode)
    return dict(resize=resize, pad=None, crop=list(steps.crop))


def steps_of(pipeline: Sequence[Any]) -> dict[str, Any]:
    """How the runtime resizes and pads an image, from the transforms of test images.

    Raises:
        SetupError: There are others.
    """
    found: dict[str, Any] = dict(resize=None, pad=None)
    for step in pipeline:
        kind = str(step["type"]).rpartition(".")[2]
        if kind in _READING:
            continue
        known = _resize(step) if kind == "Resize" else _pad(step) if kind == "Pad" else None
        if known is None or found[kind.lower()] is not None or (kind == "Resize" and found["pad"]):
            given = {key: value for key, value in step.items() if key != "type"}
            raise SetupError(
                f"{step['type']}({', '.join(f'{k}={v!r}' for k, v in given.items())}) in the "
                "pipeline of test images cannot be exported; expected at most "
                "Resize(scale=(WIDTH, HEIGHT), keep_ratio=...) and then Pad(size=(WIDTH, HEIGHT))"
            )
        found[kind.lower()] = known
    return found


def one_size(steps: dict[str, Any]) -> tuple[int, int] | None:
    """Height and width in px that all images have before the graph, if they have the same."""
    resize, pad = steps["resize"], steps["pad"]
    rows, columns = pad["size"] if pad else (0, 0)
    if resize and not resize["keep_ratio"]:
        return max(resize["scale"][1], rows), max(resize["scale"][0], columns)
    if resize and min(rows, columns) >= max(resize["scale"]):
        return rows, columns
    return None


def _resize(step: dict[str, Any]) -> dict[str, Any] | None:
    scale: Any = step.get("scale")
    if isinstance(scale, int):
        scale = (scale, scale)
    is_size = isinstance(scale, list | tuple) and len(scale) == 2
    if not is_size or step.get("interpolation", "bilinear") != "bilinear":
        return None
    if set(step) - {"type", "scale", "keep_ratio", "interpolation"}:
        return None
    return dict(scale=list(scale), keep_ratio=bool(step.get("keep_ratio", False)))


def _pad(step: dict[str, Any]) -> dict[str, Any] | None:
    size: Any = step.get("size")
    value: Any = step.get("pad_val", 0)
    if isinstance(value, dict):
        value = value.get("img", 0)
    is_size = isinstance(size, list | tuple) and len(size) == 2
    if not is_size or set(step) - {"type", "size", "pad_val"}:
        return None
    if isinstance(value, list | tuple):
        value = list(value)[::-1]  # hosts pad BGR
    return dict(size=list(size)[::-1], value=value)
