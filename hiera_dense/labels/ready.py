"""From what a tool exported to what a training can read: upright, in the image, whole objects."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from hiera_dense.data.rle import box_of, counts_of
from hiera_dense.errors import DataError
from hiera_dense.labels import shapes
from hiera_dense.labels.export import Export, Object, Picture, Size, Tally
from hiera_dense.labels.files import Frame, frame_of

_LEAST = 1e-3  # px; narrower or lower is no object
_SLACK = 0.51  # px that coordinates may leave the image by rounding alone


def make_ready(export: Export, tally: Tally) -> list[tuple[Picture, Frame]]:
    """Turn, clip and join the objects of all pictures; leave out what cannot be used.

    Args:
        export: Its pictures are changed.
        tally: What was changed or lost is counted.

    Returns:
        The pictures that are left, with the frames of their images.
    """
    ready = []
    for picture in export.pictures:
        if picture.content is not None and picture.stated:
            frame = Frame(picture.stated, 1)
        else:
            try:
                frame = frame_of(picture.path)
            except DataError as error:
                tally.lose("images that cannot be read", error)
                continue
        if not _fits(picture, frame, tally):
            continue
        tally.take("images", picture.path)
        kept = [thing for thing in picture.objects if _clip(thing, frame.upright, tally)]
        picture.objects = list(_joined(kept, frame.upright, tally))
        ready.append((picture, frame))
    used = {thing.label for picture, _ in ready for thing in picture.objects}
    for name in export.classes:
        if not export.colours and name not in used:
            tally.change("classes without objects, which are kept", name)
    return ready


def _fits(picture: Picture, frame: Frame, tally: Tally) -> bool:
    """Whether labels are for this image, after they were turned with it."""
    if picture.stated in (None, frame.upright):
        return True
    if picture.stated != frame.stored:
        tally.lose(
            "images of another size than their labels say",
            f"{picture.path}: {frame.upright}, labels {picture.stated}",
        )
        return False
    for thing in picture.objects:
        tally.change("objects turned upright with their image", thing.where)
        shapes.turn_upright(thing, frame.orientation, frame.stored)
    return True


def _clip(thing: Object, size: Size, tally: Tally) -> bool:
    """Cut off what is outside of the image; False where nothing is left."""
    if thing.counts is not None:
        if box_of(thing.counts, size[1]) is None:
            tally.lose("masks without a pixel", thing.where)
            return False
        return True
    whole = thing.polygons or ([shapes.rectangle(thing.box)] if thing.box else [])
    boxes = [shapes.box_around(polygon) for polygon in whole]
    beyond = max(max(-b[0], -b[1], b[2] - size[0], b[3] - size[1]) for b in boxes)
    if (
        not thing.polygons
        and thing.box
        and (thing.box[2] - thing.box[0] < 0 or thing.box[3] - thing.box[1] < 0)
    ):
        tally.lose("boxes whose right or bottom is before their left or top", thing.where)
        return False
    thing.polygons = [p for p in (shapes.clipped(p, size) for p in thing.polygons) if len(p) >= 3]
    thing.polygons = [p for p in thing.polygons if shapes.area(p) > 0]
    if thing.box:
        thing.box = shapes.clipped_box(thing.box, size)
    left, top, right, bottom = thing.box or (
        shapes.box_around(np.concatenate(thing.polygons)) if thing.polygons else (0, 0, 0, 0)
    )
    if right - left < _LEAST or bottom - top < _LEAST:
        outside = "outside of their image" if beyond > 0 else "without an area"
        tally.lose(f"objects {outside}", thing.where)
        return False
    if beyond > _SLACK:
        tally.change("objects that reach beyond their image, cut off there", thing.where)
    return True


def _joined(things: list[Object], size: Size, tally: Tally) -> Iterator[Object]:
    """Objects of one label and group as one."""
    yield from (thing for thing in things if thing.group is None)
    grouped = [thing for thing in things if thing.group is not None]
    grouped.sort(key=lambda thing: (thing.label, str(thing.group)))
    for _, parts in groupby(grouped, lambda thing: (thing.label, str(thing.group))):
        first, *others = parts
        for other in others:
            tally.change("shapes of a group, which become one object", other.where)
        if others:
            _join(first, others, size)
        yield first


def _join(first: Object, others: list[Object], size: Size) -> None:
    things = [first, *others]
    if all(thing.polygons for thing in things):
        first.polygons = [polygon for thing in things for polygon in thing.polygons]
    elif any(thing.has_mask for thing in things):
        mask = np.any([shapes.drawn(thing, size) for thing in things], axis=0)
        first.polygons, first.counts = [], counts_of(mask, (0, 0), (size[1], size[0]))
    else:
        corners = np.concatenate([shapes.rectangle(thing.box) for thing in things if thing.box])
        first.box = shapes.box_around(corners)
        return
    first.box = None
