"""Exports in which one value is of another kind: they are read, or refused by name."""

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.imported import Draw, counted, imported

from hiera_dense.errors import DataError
from hiera_dense.labels.export import Export, Tally
from hiera_dense.labels.importing import Format
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


BOX = (
    "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax>"
    "</bndbox></object>"
)
VOC = f"<annotation><size><width>16</width><height>12</height></size>{BOX}</annotation>"
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><meta><task><labels><label><name>cat</name></label></labels></task></meta>
<image id="0" name="a.png" width="16" height="12"><box label="cat" xtl="1" ytl="2" xbr="9"
 ybr="8" rotation="30" z_order="1" group_id="1"/><polygon label="cat" points="1,1;9,1;9,9"/>
<mask label="cat" rle="2, 3, 1" left="5" top="6" width="3" height="2"/></image>
<image id="1" name="b.png" width="16" height="12"><ellipse label="cat" cx="4" cy="5" rx="3"
 ry="2"/></image></annotations>
"""
YAML = "path: .\ntrain: images\nval: images\nnames: {0: cat, 1: dog}\nkpt_shape: [2, 3]\n"
LINES = "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.5 0.1 0.5 0.5\n"
EXPORTS: dict[Format, dict[str, str]] = {
    "voc": {"Annotations/a.xml": VOC, "Annotations/b.xml": VOC},
    "cvat": {"annotations.xml": CVAT},
    "yolo": {"data.yaml": YAML, "labels/a.txt": LINES, "labels/b.txt": LINES},
    "colours": {"labelmap.txt": "sky:0,0,0::\ncat:64,0,0::\n"},
}
WORDS = ("", "x", "nan", "-1", "1e300", "1_0", "../a", "[1, 2]", "\0", "<b/>", "a" * 999, "\u202e")


@pytest.fixture
def junk(draw: Draw, text: Draw, request: pytest.FixtureRequest) -> tuple[Format, Path]:
    """An export of a format, as it should be."""
    kind: Format = request.param
    for name in "ab":
        folder = draw(f"images/{name}.png", (16, 12)).parents[1]
        if kind == "colours":
            pixels = np.zeros((12, 16, 3), np.uint8)
            pixels[:5] = (64, 0, 0)
            (folder / "masks").mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / "masks" / f"{name}.png")
    for name, content in EXPORTS[kind].items():
        text(name, content)
    return kind, folder


def outcome(kind: Format, folder: Path) -> str:
    """What an import says of a bad export: one line; empty where it could be read."""
    try:
        imported(kind, folder)
        message = ""
    except DataError as error:
        message = str(error)
    assert not message or message.isprintable()
    assert len(message) < 1500
    return message


@pytest.mark.parametrize("junk", EXPORTS, indirect=True)
def test_files_with_another_word_are_read_or_named(junk: tuple[Format, Path]) -> None:
    kind, folder = junk
    assert outcome(kind, folder) == ""
    chance = random.Random(0)
    messages = []
    for name, content in EXPORTS[kind].items():
        words = list(re.finditer(r"[\w.-]+|[^\s\w]", content))
        for word in chance.sample(words, min(len(words), 12)):
            changed = content[: word.start()] + chance.choice(WORDS) + content[word.end() :]
            (folder / name).write_text(changed, encoding="utf-8")
            messages.append(outcome(kind, folder))
        (folder / name).write_text(content)
    assert [message for message in messages if message]
    assert not [message for message in messages if message and str(folder) not in message]


@pytest.mark.parametrize("junk", EXPORTS, indirect=True)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()), ""),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n")), ""),
        (lambda path: path.write_text(path.read_text(), encoding="utf-16"), "is not UTF-8"),
        (lambda path: (path.unlink(), path.mkdir()), "expected"),
        (lambda path: (path.unlink(), path.symlink_to(path.name)), "expected"),
        (lambda path: path.write_bytes(b""), None),
    ],
    ids=["BOM", "CRLF", "UTF-16", "folder", "link to itself", "empty"],
)
def test_files_of_another_form(
    junk: tuple[Format, Path], change: Callable[[Path], object], message: str | None
) -> None:
    kind, folder = junk
    change(folder / next(iter(EXPORTS[kind])))
    said = outcome(kind, folder)
    if message is not None:
        assert bool(said) == bool(message)
        assert message in said


LAUGHS = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 20))


@pytest.mark.parametrize("junk", ["voc", "cvat"], indirect=True)
@pytest.mark.parametrize(
    "entities",
    [
        f'<!ENTITY a0 "ha">{LAUGHS}',
        '<!ENTITY a19 SYSTEM "file:///etc/passwd">',
        '<!ENTITY % b "c">',
    ],
    ids=["without end", "of another file", "of the declaration"],
)
def test_entities_are_refused(junk: tuple[Format, Path], entities: str) -> None:
    kind, folder = junk
    name, content = next(iter(EXPORTS[kind].items()))
    declared = content.replace("cat", "&a19;").removeprefix(
        '<?xml version="1.0" encoding="utf-8"?>'
    )
    (folder / name).write_text(f"<!DOCTYPE x [{entities}]>{declared}")
    assert "declares entities" in outcome(kind, folder)


@pytest.mark.parametrize("junk", ["yolo"], indirect=True)
@pytest.mark.parametrize("key", ["names", "path", "train", "kpt_shape"])
def test_lists_that_hold_lists_without_end_are_refused(junk: tuple[Format, Path], key: str) -> None:
    kind, folder = junk
    lists = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 20)]
    (folder / "data.yaml").write_text(
        "\n".join(["l0: &l0 [ha]", *lists, "train: images", f"{key}: *l19"])
    )
    assert f"data.yaml: {key} [[[[" in outcome(kind, folder)


@pytest.mark.parametrize("junk", ["cvat"], indirect=True)
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('left="5"', 'left="1e300"', ""),  # outside of its image, and counted
        ('width="3"', 'width="1e9"', "shape 3: a mask of 1000000000 x 2 px; expected one within"),
        ('xtl="1"', "", "shape 1, xtl: nothing; expected a finite number"),
        ('name="b.png"', 'name="../../b.png"', ""),
    ],
)
def test_values_of_cvat(junk: tuple[Format, Path], old: str, new: str, message: str) -> None:
    kind, folder = junk
    (folder / "annotations.xml").write_text(CVAT.replace(old, new))
    said = outcome(kind, folder)
    assert message in said
    assert bool(said) == bool(message)


@pytest.mark.parametrize("junk", ["yolo"], indirect=True)
@pytest.mark.parametrize("place", ["a" * 999, '"a\\0"', "../../../etc"])
def test_places_that_cannot_be_are_counted(junk: tuple[Format, Path], place: str) -> None:
    kind, folder = junk
    (folder / "data.yaml").write_text(YAML.replace("val: images", f"val: {place}"))
    assert outcome(kind, folder) == ""
    assert counted(folder.with_name("new"), "lost")["places of val images that are not there"] == 1
