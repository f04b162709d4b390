"""YOLO's layouts and lines."""

from pathlib import Path

import pytest
from support.imported import Draw, counted, imported, masks, objects

from hiera_dense.errors import DataError

NAMES = "names: {0: cat, 1: dog, 2: never}\n"


@pytest.fixture
def export(tmp_path: Path, draw: Draw, text: Draw) -> Path:
    """With splits, and with much that exports have."""
    text("data.yaml", f"path: /nowhere\ntrain: images/train\nval: [images/val]\n{NAMES}")
    draw("images/train/a.jpg")
    text("labels/train/a.txt", "0 0.5 0.5 0.25 0.25\n1 0.95 0.5 0.2 0.2\n")
    draw("images/train/sub/ü b.JPG")
    text("labels/train/sub/ü b.txt", "1 0.1 0.1 0.5 0.1 0.5 0.5\n\n0 0.5 0.5 0.25 0.25\n")
    draw("images/train/none.png")
    draw("images/train/empty.png")
    text("labels/train/empty.txt", "")
    text("labels/train/lost.txt", "0 0.5 0.5 0.25 0.25\n")
    draw("images/train/turned.jpg", orientation=6)
    text("labels/train/turned.txt", "0 0.5 0.5 0.5 0.25\n")
    draw("images/val/a.jpg")
    text("labels/val/a.txt", "0 0.5 0.5 0.25 0.25 0.9\n")
    return tmp_path / "export"


def test_objects_are_those_of_the_text_files(export: Path) -> None:
    out = imported("yolo", export)
    found = objects(out)
    assert found["a.jpg"] == [("cat", [30, 22.5, 20, 15]), ("dog", [68, 24, 12, 12])]
    assert found["sub/ü b.JPG"] == [("dog", [8, 6, 32, 24]), ("cat", [30, 22.5, 20, 15])]
    assert found["turned.jpg"] == [("cat", [15, 30, 30, 20])]  # of 60 x 80 px, upright
    assert found["none.png"] == found["empty.png"] == []
    assert objects(out, "val") == {"a.jpg": [("cat", [30, 22.5, 20, 15])]}
    assert (out / "images/train/sub/ü b.JPG").samefile(export / "images/train/sub/ü b.JPG")


def test_what_was_changed_and_lost_is_counted(export: Path) -> None:
    out = imported("yolo", export)
    assert counted(out, "read") == {"boxes": 5, "polygons": 1, "images": 6}
    assert counted(out, "changed") == {
        "images without a label file, kept without objects": 1,
        "empty label files, whose images are kept without objects": 1,
        "objects that reach beyond their image, cut off there": 1,
        "classes without objects, which are kept": 1,
    }
    assert counted(out, "lost") == {"label files without an image": 1, "scores of boxes": 1}


def test_objects_with_masks_alone_or_boxes_alone(export: Path) -> None:
    text = (export / "labels/val/a.txt").write_text("1 0.1 0.1 0.5 0.1 0.5 0.5\n")
    assert text
    out = imported("yolo", export, to="instances")
    assert [len(things) for things in objects(out).values()].count(0) == 4
    assert counted(out, "lost")["boxes without a mask"] == 4
    assert masks(out, "sub/ü b.JPG")[0].sum() == pytest.approx(32 * 24 / 2, abs=32)
    boxes = imported("yolo", export, to="boxes")
    assert objects(boxes)["sub/ü b.JPG"][0] == ("dog", [8, 6, 32, 24])
    assert "segmentation" not in (boxes / "annotations/instances_train.json").read_text()


@pytest.mark.parametrize(
    "files",
    [
        {"data.yaml": "train: ../train/images\nval: ../valid/images\nnames: [cat, dog]\n"},
        {"obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\n"
         "names = data/obj.names\n",
         "obj.names": "cat\ndog\n", "train.txt": "data/train/images/a.png\n",
         "valid.txt": "data/valid/images/b.png\n"},
        {"classes.txt": "cat\ndog\n"},
    ],
    ids=["roboflow", "darknet", "no settings"],
)  # fmt: skip
def test_settings_in_other_forms(
    files: dict[str, str], tmp_path: Path, draw: Draw, text: Draw
) -> None:
    for split, name in (("train", "a"), ("valid", "b")):
        draw(f"{split}/images/{name}.png")
        beside = "images" if "obj.data" in files else "labels"
        text(f"{split}/{beside}/{name}.txt", "1 0.5 0.5 0.5 0.5\n")
    for name, content in files.items():
        text(name, content)
    out = imported("yolo", tmp_path / "export")
    assert objects(out) == {"a.png": [("dog", [20, 15, 40, 30])]}
    assert objects(out, "val") == {"b.png": [("dog", [20, 15, 40, 30])]}


def test_keypoints_are_left_away(export: Path) -> None:
    yaml = export / "data.yaml"
    yaml.write_text(yaml.read_text() + "kpt_shape: [2, 3]\n")
    (export / "labels/val/a.txt").write_text("0 .5 .5 .25 .25 .1 .1 2 .2 .2 2\n")
    out = imported("yolo", export)
    assert objects(out, "val") == {"a.jpg": [("cat", [30, 22.5, 20, 15])]}
    assert counted(out, "lost")["keypoints"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7 .5 .5 .2 .2", "a.txt, line 2: class 7; expected 0 to 2, since 3 have names"),
        ("0 .5 nan .2 .2", "a.txt, line 2: 'nan'; expected a finite number"),
        ("0 .5 .5", "a.txt, line 2: 3 columns; expected class, x, y, width, height, or class and"),
        ("0.5 .5 .5 .2 .2", "a.txt, line 2: class 0.5; expected a whole number from 0 on"),
        ("cat .5 .5 .2 .2", "a.txt, line 2: 'cat'; expected a finite number"),
    ],
)
def test_a_line_that_is_none_is_named(export: Path, line: str, message: str) -> None:
    (export / "labels/train/a.txt").write_text(f"0 .5 .5 .2 .2\n{line}\n")
    with pytest.raises(DataError) as error:
        imported("yolo", export)
    assert message in str(error.value)
    assert not list(export.parent.glob("*new*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("names: [cat", "data.yaml is not YAML"),
        ("- 1\n", "data.yaml holds no settings; expected train, val and names"),
        ("names: {0: cat, 2: dog}\ntrain: images\n", "expected one for each of 0, 1, 2"),
        ("!!python/object/apply:os.system ['true']\n", "data.yaml is not YAML"),
    ],
)
def test_settings_that_are_none(export: Path, content: str, message: str) -> None:
    (export / "data.yaml").write_text(content)
    with pytest.raises(DataError, match=message):
        imported("yolo", export)


def test_classes_without_names_are_called_by_their_numbers(
    tmp_path: Path, draw: Draw, text: Draw
) -> None:
    for name, number in (("a", 10), ("b", 2)):
        draw(f"images/{name}.png")
        text(f"labels/{name}.txt", f"{number} 0.5 0.5 0.5 0.5\n")
    out = imported("yolo", tmp_path / "export")
    labels = {thing[0] for part in ("train", "val") for [thing] in objects(out, part).values()}
    assert labels == {"class_2", "class_10"}
    assert counted(out, "changed") == {
        "classes without a name, which are called by their number": 2
    }
    text("labels/_darknet.labels", "\n".join("abcdefghijk"))  # as Roboflow's darknet has them
    out = imported("yolo", tmp_path / "export")
    labels = {thing[0] for part in ("train", "val") for [thing] in objects(out, part).values()}
    assert labels == {"c", "k"}


def test_labels_in_a_folder_of_another_name_are_found_or_counted(
    tmp_path: Path, draw: Draw, text: Draw
) -> None:
    for name in ("a", "b"):
        draw(f"Images/{name}.jpg")
        text(f"Annotations/{name}.txt", "0 0.5 0.5 0.5 0.5\n")
    draw("Images/c.jpg")
    text("old/c.txt", "0 0.5 0.5 0.5 0.5\n")
    text("older/c.txt", "0 0.5 0.5 0.5 0.5\n")
    out = imported("yolo", tmp_path / "export")
    assert sum(map(len, (objects(out) | objects(out, "val")).values())) == 2
    assert counted(out, "lost") == {"further text files of the name of an image": 2}


def test_what_settings_do_not_name_is_counted(export: Path, draw: Draw, text: Draw) -> None:
    draw("more/images/x.png")
    text("more/labels/x.txt", "0 0.5 0.5 0.5 0.5\n")
    lost = counted(imported("yolo", export), "lost")
    assert lost["images that data.yaml does not name"] == 1
    assert lost["label files of images that are not named"] == 1
    assert lost["label files without an image"] == 1
