"""Exports of annotation tools: one file for all images, under a name and in a place of its own."""

import json
from pathlib import Path

import pytest
from support.folders import BOX, CATEGORIES, POLYGON, SIZE, coco, write_coco, write_image

from hiera_dense.data.annotations import read_coco
from hiera_dense.data.check import check
from hiera_dense.data.folders import Folder, any_folder, coco_folder
from hiera_dense.data.rewritten import restore
from hiera_dense.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def images(number: int, prefix: str = "") -> dict:
    """A file of so many images, each third of which has no object."""
    content = coco()
    content["images"] = [
        dict(id=i, file_name=f"{prefix}{i}.png", width=SIZE[0], height=SIZE[1])
        for i in range(number)
    ]
    content["annotations"] = [
        content["annotations"][i % 2] | {"id": i + 1, "image_id": i} for i in range(number) if i % 3
    ]
    return content


def write(root: Path, place: str, content: dict, folder: str) -> None:
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).write_text(json.dumps(content))
    for image in content["images"]:
        write_image(root / folder / image["file_name"].replace("\\", "/"))


def parts(folder: Folder) -> list[list[int]]:
    """Ids of the images of both splits, as the hosts read them."""
    root = Path(folder["root"])
    files = [read_coco(root / folder[split]["annotations"]) for split in ("train", "val")]
    assert not any(file.findings.changed for file in files)
    return [[image["id"] for image in file.content["images"]] for file in files]


@pytest.mark.parametrize(
    ("place", "folder", "prefix"),
    [
        ("annotations/instances_default.json", "images/default", ""),  # CVAT
        ("annotations/instances_default.json", "images", "train/"),
        ("result.json", ".", "images/"),  # Label Studio
        ("result.json", ".", "images\\"),  # on Windows
        ("train/_annotations.coco.json", "train", ""),  # Roboflow, without a second split
        ("_annotations.coco.json", ".", ""),
        ("annotations.json", ".", "JPEGImages/"),  # labelme2coco
        ("via_export_coco.json", ".", ""),
        ("labels_my-project_2024-01-01.json", "pictures", ""),  # makesense
        ("labels.json", "data", ""),  # FiftyOne
    ],
)
def test_one_file_is_divided(tmp_path: Path, place: str, folder: str, prefix: str) -> None:
    root = tmp_path / "data"
    write(root, place, images(60, prefix), folder)
    found = any_folder(str(root))
    train, val = parts(found)
    # 40 images have objects and 20 have none: every 20th of each, counted apart.
    assert val == [0, 1, 31]
    assert sorted(train + val) == list(range(60))
    for split in (found["train"], found["val"]):
        assert split["original"] == place
        assert (root / split["images"]).resolve() == (root / folder).resolve()
    findings = check(found)
    assert not findings.errors
    (note,) = [kind for kind in findings.notes if kind.startswith("no splits: every 20th")]
    assert findings.notes[note] == [f"3 in {place}"]
    assert any("file names with \\" in kind for kind in findings.notes) == ("\\" in prefix)


def test_what_is_rewritten_is_told_once(tmp_path: Path) -> None:
    """As VIA writes it: ids of images as text, flat polygons, a category for each region."""
    content = images(30)
    content["categories"] = [CATEGORIES[i % 2] | {"supercategory": "class"} for i in range(20)]
    for annotation in content["annotations"]:
        annotation.update(image_id=str(annotation["image_id"]), segmentation=POLYGON[0])
    write(tmp_path / "data", "via_export_coco.json", content, ".")
    folder = coco_folder(str(tmp_path / "data"))
    assert folder["classes"] == ("cell", "debris")
    notes = check(folder).notes
    assert {kind.split(";")[0]: found.total for kind, found in notes.items()} == {
        "categories that are listed more than once": 18,
        "image_id that is text or has a decimal point": 20,
        "polygons that are not in a list of polygons": 20,
        "no splits: every 20th image is held out for validation": 1,
        "training images without annotations, left out where filter_empty_gt is set": 9,
        "validation images without annotations": 1,
        "classes without validation instances": 1,
    }


def test_categories_that_share_an_id_but_no_name(tmp_path: Path) -> None:
    content = coco(categories=[*CATEGORIES, {"id": 7, "name": "other"}])
    with pytest.raises(DataError, match="categories that share an id"):
        coco_folder(str(write_coco(tmp_path, train=content)))


def test_files_that_cannot_be_divided(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "result.json", images(3), "elsewhere")
    (root / "other.json").write_text("[]")
    write_image(root / "elsewhere/more/0.png")
    assert coco_folder(str(root))["train"]["images"] == "elsewhere"
    (root / "extra.json").write_text(json.dumps(images(3)))
    with pytest.raises(DataError, match=r"has 2 annotation files: extra.json, result.json; "):
        coco_folder(str(root))
    (root / "extra.json").write_text('{"images": 1, "annotations": 2, "categories": 3, "bbox": 4}')
    (root / "result.json").unlink()
    with pytest.raises(DataError, match=r"extra.json has no images"):
        coco_folder(str(root))
    (root / "extra.json").write_text(json.dumps(images(2)))
    with pytest.raises(DataError, match="annotations in 1 image; expected two images or more"):
        coco_folder(str(root))
    (root / "extra.json").write_text(json.dumps(images(3, "gone/")))
    with pytest.raises(
        DataError, match=r"names images such as 'gone/0.png', which are in no folder"
    ):
        coco_folder(str(root))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "which holds no files"),
        ({"a.jpg": "", "a.xml": ""}, "1 .jpg, 1 .xml .probably Pascal VOC or CVAT"),
        ({"images/a.jpg": "", "labels/a.txt": ""}, "probably the labels of YOLO"),
        ({"images/a.jpg": "", "masks/a.png": ""}, "images and masks without splits"),
        ({"JPEGImages/a.jpg": "", "SegmentationClass/a.png": ""}, "masks of colours"),
        ({"images/a.jpg": "", "labelmap.txt": ""}, "masks of colours"),
        ({"a.jpg": "", "a.json": '{"version": "5", "shapes": []}'}, "labelme's files"),
        ({"a.json": '{"_via_settings": {}}'}, "a project of VIA"),
        ({"a.json": '{"a.jpg1": {"regions": []}}'}, "annotations of VIA"),
        ({"p.json": '[{"annotations": [{"result": [{"from_name": 1}]}]}]'}, "Label Studio's own"),
        ({"a.json": "{}", ".b/a.xml": ""}, r"which holds 2 files?|1 .json, |1 .json; expected"),
    ],
)
def test_other_tools_are_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for place, text in files.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    with pytest.raises(DataError, match=message):
        any_folder(str(tmp_path))


def test_a_lost_cache_is_written_again(tmp_path: Path, cache: Path) -> None:
    content = coco()
    content["annotations"][0]["area"] = "200"
    root = write_coco(tmp_path / "data", train=content)
    folder = coco_folder(str(root))
    file = (root / folder["train"]["annotations"]).resolve()
    assert file.is_relative_to(cache)
    before = file.read_text()
    file.unlink()
    for split in (folder["train"], folder["val"]):
        restore(root, split)
    assert file.read_text() == before
    file.unlink()
    content["annotations"][0]["bbox"] = [1, *BOX[1:]]
    (root / "instances_train.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"is gone, which a run had rewritten from .*_train.json"):
        restore(root, folder["train"])
