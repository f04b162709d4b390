"""LabelMe, CVAT and Label Studio."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.imported import Draw, counted, imported, index_mask, masks, objects

from hiera_dense.errors import DataError
from hiera_dense.labels.brush import read_brush

# label_studio_sdk.converter.brush.mask2rle of a mask of 24 x 20 px: rows 3 to 8 of columns 5 to 14,
# and each second pixel of row 12.
BRUSH = [
    *(0, 0, 7, 128, 57, 27, 255, 1, 51, 0, 196, 255, 248, 220, 3, 19, 255, 227, 112, 12, 79),
    *(255, 141, 192, 49, 63, 254, 55, 0, 196, 255, 248, 220, 3, 19, 255, 240, 20, 48, 8, 255),
    *(227, 0, 143, 254, 48, 8, 255, 227, 0, 143, 254, 48, 8, 255, 227, 0, 143, 254, 48, 8, 255),
    *(227, 0, 143, 254, 48, 8, 255, 227, 0, 143, 254, 48, 8, 255, 227, 0, 143, 255, 129, 81, 128),
    0,
]


def brushed() -> np.ndarray[Any, Any]:
    mask = np.zeros((20, 24), bool)
    mask[3:9, 5:15] = True
    mask[12, ::2] = True
    return mask


def shape(label: str, kind: str, points: list[list[float]], **more: Any) -> dict[str, Any]:
    return dict(label=label, shape_type=kind, points=points, group_id=None) | more


def labelme(name: str, *shapes: dict[str, Any], size: tuple[int, int] = (80, 60)) -> str:
    return json.dumps(dict(
        version="5.5.0", flags={}, imagePath=name, imageData=None, imageWidth=size[0],
        imageHeight=size[1], shapes=shapes,
    ))  # fmt: skip


SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]


def test_labelme(tmp_path: Path, draw: Draw, text: Draw) -> None:
    png = io.BytesIO()
    Image.fromarray(np.full((6, 8), 255, np.uint8)).save(png, "PNG")
    mask = base64.b64encode(png.getvalue()).decode()
    draw("in/a.JPG")
    text("in/a.json", labelme(
        "..\\in\\a.JPG",
        shape("cell", "polygon", SQUARE),
        shape("cell", "rectangle", [[70, 50], [90, 40]]),
        shape("disc", "circle", [[40, 40], [40, 50]]),
        shape("disc", "mask", [[3, 2], [10, 7]], mask=mask),
        shape("cell", "polygon", [[60, 1], [70, 1], [70, 9]], group_id=1),
        shape("cell", "polygon", [[40, 1], [50, 1], [50, 9]], group_id=1),
        shape("cell", "point", [[1, 1]]), shape("cell", "line", [[1, 1], [2, 2]]),
        shape("__ignore__", "polygon", SQUARE), shape("cell", "polygon", SQUARE[:2]),
    ))  # fmt: skip
    draw("b.png", orientation=8)
    text("b.json", labelme("b.png", shape("cell", "polygon", SQUARE), size=(60, 80)))
    draw("none.png")
    text("lost.json", labelme("lost.png", shape("cell", "polygon", SQUARE)))
    text("other.json", "{}")
    out = imported("labelme", tmp_path / "export", val=0.5)
    found = objects(out) | objects(out, "val")
    (first,) = (things for name, things in found.items() if name.endswith("a.JPG"))
    assert first[0] == ("cell", [10, 10, 20, 20])
    assert first[1] == ("cell", [70, 40, 10, 10])  # of two corners in any order, cut off
    assert first[2] == ("disc", [30, 30, 20, 20])
    assert first[3] == ("disc", [3, 2, 8, 6])
    assert first[4] == ("cell", [40, 1, 30, 8])
    assert found["b.png"] == [("cell", [10, 10, 20, 20])]
    assert counted(out, "lost") == {
        "shapes of the kind point": 1,
        "shapes of the kind line": 1,
        "shapes named __ignore__": 1,
        "shapes of the kind polygon with 2 points": 1,
        "label files without an image": 1,
        "JSON files without shapes": 1,
    }


def test_an_image_inside_a_labelme_file_is_taken_out(
    tmp_path: Path, draw: Draw, text: Draw
) -> None:
    for name in ("a", "b"):
        path = draw(f"{name}.png")
        content = json.loads(labelme(path.name, shape("cell", "polygon", SQUARE)))
        content["imageData"] = base64.b64encode(path.read_bytes()).decode()
        path.unlink()
        text(f"{name}.json", json.dumps(content))
    out = imported("labelme", tmp_path / "export")
    assert sorted(path.name for path in out.rglob("*.png")) == ["a.png", "b.png"]


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels>
<label><name>car</name><type>any</type></label><label><name>road</name><type>mask</type></label>
<label><name>dot</name><type>points</type></label></labels></task></meta>
<image id="0" name="städte/a.jpg" width="80" height="60" subset="Train">
<box label="car" xtl="10" ytl="20" xbr="30" ybr="30" z_order="0"/>
<box label="car" xtl="40" ytl="20" xbr="60" ybr="30" rotation="90" z_order="2"/>
<polygon label="road" points="0,40;80,40;80,70;0,70" z_order="1"/>
<mask label="road" rle="2, 3, 1" left="5" top="6" width="3" height="2" z_order="0"/>
<ellipse label="car" cx="40" cy="45" rx="10" ry="5" z_order="3"/>
<polyline label="road" points="1,2;3,4"/><points label="dot" points="1,2"/>
<tag label="car"/><box label="" xtl="1" ytl="1" xbr="3" ybr="3"/>
</image>
<image id="1" name="b.jpg" width="80" height="60" subset="Validation">
<box label="car" xtl="1" ytl="2" xbr="11" ybr="12"/></image>
<image id="2" name="lost.jpg" width="80" height="60" subset="Train"/>
</annotations>"""


def test_cvat(tmp_path: Path, draw: Draw, text: Draw) -> None:
    text("annotations.xml", CVAT)
    draw("images/Train/städte/a.jpg")
    draw("images/Validation/b.jpg")
    draw("images/more.jpg")
    out = imported("cvat", tmp_path / "export")
    assert objects(out)["a.jpg"] == [
        ("car", [10, 20, 20, 10]),
        ("car", [45, 15, 10, 20]),  # about its centre
        ("road", [0, 40, 80, 20]),
        ("road", [5, 6, 3, 2]),
        ("car", [30, 40, 20, 10]),
    ]
    assert objects(out, "val") == {"b.jpg": [("car", [1, 2, 10, 10])]}
    kinds = ("polyline", "points", "tag")
    assert counted(out, "lost") == {f"shapes of the kind {kind}": 1 for kind in kinds} | {
        "shapes without a class": 1,
        "images in the XML file that are not there": 1,
        "images that the XML file does not name": 1,
    }


XML = (
    CVAT.replace("<polygon", "<none")
    .replace("<ellipse", "<none")
    .replace(
        '<box label="car" xtl="1" ytl="2" xbr="11" ybr="12"/>',
        '<mask label="car" rle="0, 4" left="0" top="0" width="2" height="2"/>',
    )
)


def test_a_mask_of_cvat_is_read_by_rows(tmp_path: Path, draw: Draw, text: Draw) -> None:
    path = text("annotations.xml", XML)
    draw("images/städte/a.jpg")
    draw("images/b.jpg")
    out = imported("cvat", path, images=tmp_path / "export/images", to="masks")
    mask = index_mask(out / "masks/train/a.png")
    assert (out / "classes.txt").read_text() == "background\ncar\nroad\n"
    assert mask[6:8, 5:8].tolist() == [[0, 0, 2], [2, 2, 0]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<image id", '<track id="0"/><image id', "has tracks of a video; expected an export as"),
        ('rle="2, 3, 1"', 'rle="2, 3, 2"', "shape 4: runs of 7 px; expected 3 x 2 px"),
        ('xtl="10"', 'xtl="?"', "image städte/a.jpg, shape 1, xtl: '?'; expected a finite"),
        ("0,40;80,40;80,70;0,70", "0,40;80", "points '0,40;80'; expected three or more"),
    ],
)
def test_what_is_not_cvats(
    old: str, new: str, message: str, tmp_path: Path, draw: Draw, text: Draw
) -> None:
    text("annotations.xml", CVAT.replace(old, new, 1))
    draw("images/Train/städte/a.jpg")
    draw("images/Validation/b.jpg")
    with pytest.raises(DataError, match=message.replace("?", r"\?")):
        imported("cvat", tmp_path / "export")


def region(kind: str, number: int = 0, **value: Any) -> dict[str, Any]:
    size = dict(original_width=24, original_height=20, image_rotation=0)
    return dict(id=f"r{number}", type=kind, to_name="image", value=value) | size


def task(address: str, *annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(id=1, data=dict(image=address), annotations=[dict(result=a) for a in annotations])


def test_label_studio(tmp_path: Path, draw: Draw, text: Draw) -> None:
    box = dict(x=25, y=10, width=50, height=25, rotation=0)
    first = [
        region("rectanglelabels", 1, rectanglelabels=["cat"], **box),
        region("rectanglelabels", 2, rectanglelabels=["cat", "dog"], **box | dict(rotation=90)),
        region("polygonlabels", 3, polygonlabels=["dog"], points=[[0, 0], [50, 0], [50, 50]]),
        region("brushlabels", 4, brushlabels=["dog"], format="rle", rle=BRUSH),
        region("keypointlabels", 5, keypointlabels=["eye"], x=1, y=1, width=1),
        region("rectangle", 6, **box), region("labels", 6, labels=["cat"], **box),
        region("rectangle", 7, **box),
        region("ellipselabels", 8, ellipselabels=["cat"], x=50, y=50, radiusX=25, radiusY=10,
               rotation=0),
    ]  # fmt: skip
    tasks = [
        task("/data/upload/3/1a2b3c4d-k%C3%A4fer.jpg", [], first),
        task("/data/local-files/?d=sub/b.png", first[:1]),
        task("s3://bucket/none.png", []),
        task("https://host/lost.png", first[:1]),
    ]
    tasks[2]["annotations"][0]["was_cancelled"] = True
    text("project.json", json.dumps(tasks))
    for name in ("käfer.jpg", "sub/b.png", "none.png"):
        draw(name, (24, 20))
    out = imported("label-studio", tmp_path / "export", val=0.5)
    found = objects(out) | objects(out, "val")
    things = found["käfer.jpg"]
    assert things[:2] == [("cat", [6, 2, 12, 5]), ("cat", [1, 2, 5, 12])]  # about its corner
    assert things[2:4] == [("dog", [0, 0, 12, 10]), ("dog", [0, 3, 23, 10])]
    assert things[4:] == [("cat", [6, 2, 12, 5]), ("cat", [6, 8, 12, 4])]
    split = "train" if "käfer.jpg" in objects(out) else "val"
    assert (masks(out, "käfer.jpg", split)[2] == brushed()).all()
    assert counted(out, "lost") == {
        "annotations of an image but the last one": 1,
        "further classes of a region": 1,
        "regions of the kind keypoint": 1,
        "regions without a class": 1,
        "annotations that were cancelled": 1,
        "tasks without an image": 1,
    }


def test_brushes_are_as_label_studio_writes_them() -> None:
    assert (read_brush(BRUSH, (24, 20)) == brushed()).all()
    for damaged, message in (
        (BRUSH[:40], "it ends too early"),
        (BRUSH[:3], "it ends too early"),
        ([300, *BRUSH], "no bytes"),
    ):
        with pytest.raises(DataError, match=message):
            read_brush(damaged, (24, 20))
    with pytest.raises(DataError, match="it has 1920 values; expected 20 x 20 x 4"):
        read_brush(BRUSH, (20, 20))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "is no list of tasks; expected Label Studio's export as JSON"),
        ('[{"image": "a.png", "label": []}]', "no annotations; expected an export as JSON, not"),
        ('[{"data": {}, "annotations": []}]', "names no image in data"),
        ("[", "is not JSON"),
    ],
)
def test_what_is_not_label_studios(content: str, message: str, tmp_path: Path, text: Draw) -> None:
    text("project.json", content)
    with pytest.raises(DataError, match=message):
        imported("label-studio", tmp_path / "export")
