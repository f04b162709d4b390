"""Pascal VOC's XML and masks, and masks in colours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.imported import Draw, counted, imported, index_mask, masks, objects

from hiera_dense.errors import DataError
from hiera_dense.labels.colours import PASCAL

BOX = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
    "</bndbox></object>"
)
FILE = (
    "<annotation><size><width>{}</width><height>{}</height></size>{}</annotation>"
)  # fmt: skip
CAT, DOG = (64, 0, 0), (64, 0, 128)


def xml(width: int, height: int, *boxes: tuple[object, ...]) -> str:
    return FILE.format(width, height, "".join(BOX.format(*box) for box in boxes))


@pytest.fixture
def boxes(tmp_path: Path, draw: Draw, text: Draw) -> Path:
    draw("JPEGImages/a.jpg")
    text("Annotations/a.xml", xml(80, 60, ("cat", 1, 1, 20, 30), ("dog", 60, 10, 95, 30)))
    draw("JPEGImages/b c.png")
    text("Annotations/b c.xml", xml(0, 0, ("dog", 0, 5, 10, 15)))
    draw("JPEGImages/none.png")
    for name, size in (("upright", (60, 80)), ("stored", (80, 60))):
        draw(f"JPEGImages/{name}.jpg", orientation=6)
        text(f"Annotations/{name}.xml", xml(*size, ("cat", 11, 21, 20, 50)))
    draw("JPEGImages/other.png")
    text("Annotations/other.xml", xml(50, 50, ("dog", 1, 1, 9, 9)))
    text("Annotations/lost.xml", xml(50, 50, ("dog", 1, 1, 9, 9)))
    text("ImageSets/Main/train.txt", "a\nnone\nupright\nstored\nother\n")
    text("ImageSets/Main/val.txt", "b c\n")
    text("ImageSets/Main/dog_train.txt", "b c 1\n")
    return tmp_path / "export"


def test_boxes_are_counted_from_one_but_where_one_is_at_zero(boxes: Path) -> None:
    out = imported("voc", boxes)
    found = objects(out)
    assert found["a.jpg"] == [("cat", [0, 0, 20, 30]), ("dog", [59, 9, 21, 21])]
    assert objects(out, "val") == {"b c.png": [("dog", [0, 5, 10, 10])]}
    assert found["none.png"] == []
    lost = counted(out, "lost")
    assert lost == {
        "label files without an image": 1,
        "images of another size than their labels say": 1,
    }


def test_the_size_tells_whether_boxes_are_turned_with_the_image(boxes: Path) -> None:
    out = imported("voc", boxes)
    found = objects(out)
    assert found["upright.jpg"] == [("cat", [10, 20, 10, 30])]
    # Orientation 6: what is stored 20 px from the top is seen 60 - 50 px from the left.
    assert found["stored.jpg"] == [("cat", [10, 10, 30, 10])]
    assert counted(out, "changed")["objects turned upright with their image"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation>", "a.xml is not XML"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>", "a.xml declares entities"),
        (xml(80, 60, ("", 1, 1, 9, 9)), "a.xml, object 1 has no name; expected its class"),
        (xml(80, 60, ("cat", 1, "x", 9, 9)), "a.xml, object 1, ymin: 'x'; expected a finite"),
        ("<annotation><object><name>a</name></object></annotation>", "object 1 has no bndbox"),
    ],
)
def test_a_file_that_is_none_is_named(boxes: Path, content: str, message: str) -> None:
    (boxes / "Annotations/a.xml").write_text(content)
    with pytest.raises(DataError, match=message):
        imported("voc", boxes)


def test_files_of_one_name_belong_to_the_image_in_their_folder(
    tmp_path: Path, draw: Draw, text: Draw
) -> None:
    for split, left in (("train", 11), ("valid", 21)):
        draw(f"{split}/a.jpg")
        text(f"{split}/a.xml", xml(80, 60, ("cat", left, 1, 40, 30)))
    out = imported("voc", tmp_path / "export")
    assert objects(out) == {"a.jpg": [("cat", [10, 0, 30, 30])]}
    assert objects(out, "val") == {"a.jpg": [("cat", [20, 0, 20, 30])]}
    (tmp_path / "export/valid/a.xml").rename(tmp_path / "export/a.xml")
    (tmp_path / "export/train/a.xml").unlink()
    with pytest.raises(DataError, match=r"a.xml may be of .*; expected names of their own"):
        imported("voc", tmp_path / "export")


def test_fractions_are_edges_and_not_pixels(tmp_path: Path, draw: Draw, text: Draw) -> None:
    for name in ("a", "b"):
        draw(f"JPEGImages/{name}.jpg")
        text(f"Annotations/{name}.xml", xml(80, 60, ("cat", 10.25, 5.0, 30.5, 20.75)))
    out = imported("voc", tmp_path / "export")
    assert list(objects(out).values()) == [[("cat", [10.25, 5, 20.25, 15.75])]]


def test_too_few_labelled_images_tell_what_was_lost(boxes: Path) -> None:
    for path in (boxes / "Annotations").glob("*.xml"):
        path.rename(path.with_name(f"x-{path.name}"))
    with pytest.raises(DataError, match=r"no labelled images; .*label files without an image: 6"):
        imported("voc", boxes)


def coloured(path: Path, *regions: tuple[Any, tuple[int, int, int]]) -> None:
    pixels = np.zeros((60, 80, 3), np.uint8)
    for place, colour in regions:
        pixels[place] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def painted(tmp_path: Path, draw: Draw) -> Path:
    """Two images with masks of objects, in the palette of VOC."""
    folder = tmp_path / "export"
    for name in ("a", "b"):
        draw(f"JPEGImages/{name}.jpg")
        cat, dog, border = np.s_[5:20, 5:30], np.s_[30:50, 40:70], np.s_[30:50, 38:40]
        regions = ((cat, CAT), (dog, DOG), (border, (224, 224, 192)))
        coloured(folder / f"SegmentationClass/{name}.png", *regions)
        numbers = np.zeros((60, 80), np.uint8)
        numbers[cat], numbers[dog], numbers[border] = 1, 2, 255
        (folder / "SegmentationObject").mkdir(exist_ok=True)
        Image.fromarray(numbers).save(folder / f"SegmentationObject/{name}.png")
    return folder


def test_masks_of_objects_become_instances(painted: Path) -> None:
    out = imported("voc", painted)
    name = next(iter(objects(out)))
    assert objects(out)[name] == [("cat", [5, 5, 25, 15]), ("dog", [40, 30, 30, 20])]
    assert [int(mask.sum()) for mask in masks(out, name)] == [25 * 15, 30 * 20]


def test_colours_become_numbers(painted: Path) -> None:
    out = imported("voc", painted, to="masks")
    classes = (out / "classes.txt").read_text().splitlines()
    mask = index_mask(next((out / "masks/train").iterdir()))
    values = {classes[v] if v < 255 else "ignored" for v in np.unique(mask)}
    assert values == {"background", "cat", "dog", "ignored"}
    assert (mask == classes.index("dog")).sum() == 600
    assert (mask[30:50, 38:40] == 255).all()


def test_colours_of_pascal_voc_are_the_published_ones() -> None:
    assert len(PASCAL) == 22
    assert [PASCAL[c] for c in ((128, 0, 0), CAT, DOG, (192, 128, 128), (0, 64, 128))] == [
        *("aeroplane", "cat", "dog", "person", "tvmonitor")
    ]


TABLES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\nsky:0,0,0::\ncat:64,0,0::\nvoid:1,2,3::\n",
    "label_colors.txt": "0 0 0 sky\n64 0 0 cat\n1 2 3 void\n",
    "class_dict.csv": "name,r,g,b\nsky,0,0,0\ncat,64,0,0\nvoid,1,2,3\n",
}


@pytest.mark.parametrize("table", TABLES)
def test_tables_of_colours(table: str, tmp_path: Path, draw: Draw, text: Draw) -> None:
    folder = tmp_path / "export"
    text(table, TABLES[table])
    for split in ("train", "val"):
        draw(f"{split}/frame.png", orientation=3)
        regions = ((np.s_[:10], CAT), (np.s_[10:12], (1, 2, 3)), (np.s_[59:], (9, 9, 9)))
        coloured(folder / f"{split}annot/frame.png", *regions)
    draw("val/unlabelled.png")
    out = imported("colours", folder)
    assert (out / "classes.txt").read_text() == "sky\ncat\n"
    mask = index_mask(out / "masks/val/frame.png")
    assert mask[:10].tolist() == [[1] * 80] * 10
    assert (mask[10:12] == 255).all()
    assert (mask[12:59] == 0).all()
    assert counted(out, "lost") == {
        "images without a mask": 1,
        "colours that are no class; 255, ignored": 2,
    }


def test_masks_of_numbers_are_no_masks_of_colours(tmp_path: Path, draw: Draw) -> None:
    for name in ("a", "b"):
        draw(f"JPEGImages/{name}.jpg")
        path = tmp_path / f"export/SegmentationClass/{name}.png"
        coloured(path, (np.s_[:20], (1, 1, 1)))
    with pytest.raises(DataError, match=r"fewer than two colours of the table, and others.*1, 1"):
        imported("voc", tmp_path / "export")
    assert not (tmp_path / "new").exists()


def test_folders_whose_names_begin_with_labels(tmp_path: Path, draw: Draw, text: Draw) -> None:
    text("label_colors.txt", "0 0 0\tsky\n64 0 0\tcat\n")
    for name in ("a", "b"):
        draw(f"stills/{name}.png")
        coloured(tmp_path / f"export/labelsRGB/{name}.png", (np.s_[:10], CAT))
    out = imported("colours", tmp_path / "export")
    assert (index_mask(next((out / "masks/train").iterdir()))[:10] == 1).all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "no table of colours; expected labelmap.txt"),
        ("cat:1,2,3\ndog:1,2,3\n", "line 2: dog has the colour of cat"),
        ("cat:1,2,3\ndog:1,2,300\n", "line 2: 'dog:1,2,300'; expected name:r,g,b"),
    ],
)
def test_a_table_that_is_none(
    table: str | None, message: str, tmp_path: Path, draw: Draw, text: Draw
) -> None:  # fmt: skip
    draw("images/a.png")
    draw("masks/a.png")
    if table:
        text("labelmap.txt", table)
    with pytest.raises(DataError, match=message):
        imported("colours", tmp_path / "export")
