"""Settings of a training that follow the data: the recipes for own data call `choose`.

All are plain values, which mmengine keeps with the config of a run. Resuming and evaluating a run
take the values that it began with.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from hiera_dense.data.folders import Folder
from hiera_dense.data.rules import (
    STRIDES,
    anchors_for,
    batch_for,
    epochs_for,
    min_box_for,
    rate_for,
    repeat_threshold,
    repetition,
    size_for,
    val_interval_for,
    warmup_for,
)
from hiera_dense.data.survey import Survey, shares, survey
from hiera_dense.errors import SetupError


class Choices(TypedDict):
    """What was chosen.

    Sizes are in px at the training size; `anchor_scale`, `anchor_share`, `box_sides` and `min_box`
    are 0 without boxes, and `repeat_below` is 0 where no class is rare.
    """

    images: int
    val_images: int
    per_class: list[float]  # share of training images with each class
    size: int
    median_side: int  # of the images, before they are resized
    batch: int  # of each process
    processes: int
    epochs: int
    iterations: int  # of an epoch
    val_interval: int  # epochs
    warmup: int  # iterations
    lr: float
    anchor_scale: int
    anchor_share: float  # of boxes that an anchor can fit with an IoU of 0.5
    box_sides: list[float]  # 2nd, 50th and 98th percentile
    min_box: float  # sides of a box below which it is left out
    repeat_below: float  # share of images, for ClassBalancedDataset


class Given(NamedTuple):
    """What is not to be chosen.

    Attributes:
        size: Of the images, px.
        batch: Of each process.
        is_random: Whether the backbone starts from random weights.
        kept: The choices of a run, in place of all.
    """

    size: int | None = None
    batch: int | None = None
    is_random: bool = False
    kept: Choices | None = None


_given: ContextVar[Given | None] = ContextVar("given", default=None)


@contextmanager
def given(what: Given) -> Iterator[None]:
    """Let configs that are read meanwhile take what is given."""
    token = _given.set(what)
    try:
        yield
    finally:
        _given.reset(token)


def choose(folder: Folder) -> Choices:
    """The settings for a folder of data, but those that are `given`.

    Raises:
        DataError: As `survey`.
        SetupError: What is given is out of range.
    """
    what = _given.get() or Given()
    if what.kept is not None:
        return what.kept
    found = survey(folder)
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # of torchrun
    return chosen(found, len(folder["classes"]), what, processes)


def chosen(found: Survey, classes: int, what: Given, processes: int = 1) -> Choices:
    """The settings for what is in a folder.

    Args:
        found: What is in it.
        classes: How many there are.
        what: What is not to be chosen.
        processes: That train together.

    Raises:
        SetupError: What is given is out of range.
    """
    size = what.size or size_for(found.sides)
    batch = what.batch or batch_for(found.images)
    if size % 32 or size < 32:
        near = max(32, round(size / 32) * 32)
        raise SetupError(f"--size {size}; expected a multiple of 32 px, such as {near}")
    if batch * processes > found.images:
        raise SetupError(
            f"a batch of {batch} in {processes} process(es), with {found.images} training images; "
            f"expected --batch {max(1, found.images // processes)} or less"
        )
    share = shares(found.labels)
    repeat_below = repeat_threshold(list(share.values()))
    total = batch * processes
    iterations = max(1, int(found.images * repetition(found.labels, repeat_below) // total))
    epochs = epochs_for(found.images, iterations, what.is_random)
    sides = np.sqrt(found.boxes.prod(1)) * size
    scale, reach = anchors_for(sides) if len(sides) else (0, 0.0)
    return Choices(
        images=found.images,
        val_images=found.val_images,
        per_class=[round(share.get(label, 0.0), 4) for label in range(classes)],
        size=size,
        median_side=round(float(np.median(found.sides))),
        batch=batch,
        processes=processes,
        epochs=epochs,
        iterations=iterations,
        val_interval=val_interval_for(epochs),
        warmup=warmup_for(epochs * iterations),
        lr=rate_for(total, what.is_random),
        anchor_scale=scale,
        anchor_share=round(reach, 4),
        box_sides=_percentiles(sides),
        min_box=min_box_for(found.boxes * size),
        repeat_below=repeat_below,
    )


def _percentiles(sides: NDArray[np.float64]) -> list[float]:
    if not len(sides):
        return [0.0, 0.0, 0.0]
    return [round(float(side), 1) for side in np.percentile(sides, [2, 50, 98])]


def lines(choices: Choices, names: Sequence[str]) -> Iterator[str]:
    """What was chosen, in words.

    Args:
        choices: The choices.
        names: Of the classes.
    """
    of = choices
    yield f"images: {of['images']} to train on, {of['val_images']} for validation"
    counted = sorted(zip(of["per_class"], names, strict=True), key=lambda pair: -pair[0])
    shown = [f"{name} in {share:.1%} of images" for share, name in counted]
    yield f"classes: {', '.join(shown if len(shown) <= 8 else [*shown[:4], '...', *shown[-3:]])}"
    yield f"size: {of['size']} px (the median of the images' longer sides is {of['median_side']})"
    yield (
        f"length: up to {of['epochs']} epochs of {of['iterations']} iterations, with a validation "
        f"every {of['val_interval']} epochs"
    )
    each = f"{of['processes']} x {of['batch']}" if of["processes"] > 1 else f"{of['batch']}"
    yield f"batch: {each}; learning rate {of['lr']:g} after {of['warmup']} iterations of warm-up"
    if scale := of["anchor_scale"]:
        first, last = scale * STRIDES[0], scale * STRIDES[-1]
        yield (
            f"anchors: {first} to {last} px, which fit {of['anchor_share']:.1%} of the boxes; "
            f"boxes are {of['box_sides'][0]:g} to {of['box_sides'][2]:g} px (2nd to 98th "
            "percentile)"
        )
        yield f"boxes left out: those with a side under {of['min_box']:g} px after the crop"
    if below := of["repeat_below"]:
        rare = [name for share, name in counted if 0 < share < below]
        yield (
            f"repeated: images with {', '.join(rare[:8])}, which are in less than {below:.1%} of "
            "the images"
        )


def as_choices(values: Any) -> Choices | None:
    """Choices that were read from the record of a run; None if they are none."""
    if not isinstance(values, dict) or values.keys() != Choices.__annotations__.keys():
        return None
    numbers = [
        number
        for value in values.values()
        for number in (value if isinstance(value, list) else [value])
    ]
    if not all(type(number) in (int, float) for number in numbers):
        return None
    whole = [name for name, kind in Choices.__annotations__.items() if kind is int]
    if not all(type(values[name]) is int and values[name] >= 0 for name in whole):
        return None
    return values  # type: ignore[return-value]
