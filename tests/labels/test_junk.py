"""Exports in which one value is of another kind: they are read, or refused by name."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.imported import Draw

from hiera_dense.errors import DataError
from hiera_dense.labels.export import Export, Tally
from hiera_dense.labels.label_studio import read_label_studio
from hiera_dense.labels.labelme import read_labelme

CORNERS = [[1, 1], [5, 5], [1, 5]]
LABELME = dict(
    version="5.5.0", flags={}, imagePath="a.png", imageData=None, imageHeight=10, imageWidth=10,
    shapes=[
        dict(label="a", points=CORNERS, group_id=None, shape_type="polygon", flags={}),
        dict(label="a", points=CORNERS[:2], group_id=1, shape_type="rectangle"),
        dict(label="a", points=CORNERS[1:], group_id=1, shape_type="circle"),
        dict(label="a", points=CORNERS[:2], mask="x", group_id=1, shape_type="mask"),
    ],
)  # fmt: skip
SIDES = dict(x=1, y=1, width=5, height=5, rotation=3)
VALUES = dict(
    rectangle=SIDES, polygon=dict(points=CORNERS), ellipse=dict(SIDES, radiusX=2, radiusY=1),
    brush=dict(format="rle", rle=[0, 0, 1]),
)  # fmt: skip
REGIONS = [
    dict(
        id=kind, type=f"{kind}labels", original_width=10, original_height=10, image_rotation=0,
        value=value | {f"{kind}labels": ["a"]},
    )
    for kind, value in VALUES.items()
]  # fmt: skip
TASKS = [dict(id=1, data=dict(image="a.png"), annotations=[dict(result=REGIONS)])]
JUNK = (None, [], {}, "", "x", -1, 1e300, 10**400, True, [None], dict(a=1), [["x"]], float("nan"))


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys and indices that lead to each value inside."""
    inner: Any = ()
    if isinstance(content, dict | list):
        inner = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


@pytest.mark.parametrize(("content", "read"), [(LABELME, read_labelme), (TASKS, read_label_studio)])
def test_any_value_of_another_kind(
    content: Any,
    read: Callable[[Path, Path | None, Tally], Export],
    draw: Draw,
    text: Draw,
) -> None:
    folder = draw("a.png", (10, 10)).parent
    messages = []
    for *outer, last in places(content):
        for junk in JUNK:
            changed = copy.deepcopy(content)
            place = changed
            for key in outer:
                place = place[key]
            place[last] = junk
            text("a.json", json.dumps(changed))
            try:
                read(folder, None, Tally())
            except DataError as error:
                messages.append(str(error))
    assert len(messages) > 100
    assert not [message for message in messages if str(folder) not in message]
