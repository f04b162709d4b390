"""Folders of one's own data: what is found in them, and how unusable ones are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, METRICS, init_default_scope
from PIL import Image
from support.folders import CATEGORIES, SIZE, coco, write_coco, write_image, write_masks

from hiera_dense.data.folders import (
    VARIABLE,
    any_folder,
    class_folder,
    coco_folder,
    image_folder,
    mask_folder,
)
from hiera_dense.data.masks import image_files, pair_masks
from hiera_dense.data.splits import COCO_LAYOUTS, SPLIT_NAMES
from hiera_dense.errors import DataError


def test_a_coco_folder(tmp_path: Path) -> None:
    folder = coco_folder(str(write_coco(tmp_path, val=coco(annotations=120))))
    assert folder["kind"] == "coco"
    assert folder["root"] == str(tmp_path)
    assert folder["train"] == {"images": "train", "annotations": "instances_train.json"}
    assert folder["classes"] == ("cell", "debris")  # the order of the file, not of the ids
    assert len(set(folder["palette"])) == 2
    assert folder["most_instances"] == 120
    assert any_folder(str(tmp_path)) == folder


@pytest.mark.parametrize(("images", "annotations"), COCO_LAYOUTS)
@pytest.mark.parametrize("names", SPLIT_NAMES)
def test_coco_layouts(
    tmp_path: Path, images: str, annotations: str, names: tuple[str, str]
) -> None:
    for name in names:
        write_image(tmp_path / images.format(name) / "a.png")
        file = tmp_path / annotations.format(name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(coco()))
    folder = coco_folder(str(tmp_path))
    assert folder["val"] == {
        "images": images.format(names[1]),
        "annotations": annotations.format(names[1]),
    }


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("classes.txt", "floor\nwall\n\n", ("floor", "wall")),
        ("classes.txt", "\ufefffloor\nfen\xeatre", ("floor", "fen\xeatre")),
        ("_classes.csv", "Pixel Value, Class\n0, floor\n1, wall", ("floor", "wall")),
        (None, "", ("class_0", "class_1", "class_2")),
    ],
)
def test_class_names_of_masks(
    tmp_path: Path, file: str | None, text: str, expected: tuple[str, ...]
) -> None:
    write_masks(tmp_path, [0, 2, 255])
    if file:
        (tmp_path / file).write_text(text)
    assert mask_folder(str(tmp_path))["classes"] == expected


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("ending", ["", "_mask"])
def test_a_data_set_of_masks_with_any_suffix(tmp_path: Path, suffix: str, ending: str) -> None:
    init_default_scope("mmseg")
    folder = mask_folder(str(write_masks(tmp_path, [0, 1, 255], suffix, ending)))
    write_image(tmp_path / "images/training/b.bmp")  # suffixes may differ from image to image
    Image.new("L", SIZE).save(tmp_path / f"annotations/training/b{ending}.png")
    prefix = {"img_path": folder["train"]["images"], "seg_map_path": folder["train"]["annotations"]}
    dataset = DATASETS.build(
        dict(
            type="hiera_dense.MaskFolder",
            data_root=folder["root"],
            data_prefix=prefix,
            metainfo=dict(classes=folder["classes"], palette=folder["palette"]),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations"),
                dict(type="PackSegInputs"),
            ],
        )
    )
    assert len(dataset) == 2
    sample = dataset[0]
    assert sample["inputs"].shape == (3, *SIZE[::-1])
    labels = sample["data_samples"].gt_sem_seg.data
    assert labels.unique().tolist() == [0, 1, 255]


def test_perfect_detections_score_1_whatever_ids_annotations_have(tmp_path: Path) -> None:
    """pycocotools alone takes annotation 0 for no match."""
    for first_id in (0, 1):
        file = tmp_path / f"{first_id}.json"
        file.write_text(json.dumps(coco(first_id)))
        metric = METRICS.build(
            dict(type="hiera_dense.CocoMetric", ann_file=str(file), metric="bbox")
        )
        metric.dataset_meta = dict(classes=("cell", "debris"))
        boxes = np.array([[4, 5, 24, 15]] * 2, np.float32)
        prediction = dict(img_id=1, bboxes=boxes, scores=np.ones(2), labels=np.arange(2))
        truth = dict(width=SIZE[0], height=SIZE[1], img_id=1)
        assert metric.compute_metrics([(truth, prediction)])["bbox_mAP"] == 1


def test_pairing(tmp_path: Path) -> None:
    """A first image without a mask, names that begin alike, links and hidden files."""
    images, masks, elsewhere = (tmp_path / name for name in ("images", "masks", "elsewhere"))
    for name in ("1.jpg", "10.jpg", "11.jpg", ".12.jpg", ".hidden/13.jpg"):
        write_image(images / name)
    write_image(elsewhere / "14.tif")
    (images / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(images)
    for name in ("10_mask.png", "11_mask.png", "linked/14_mask.png"):
        write_image(masks / name)
    found = {str(i.relative_to(images)): m and m.name for i, m in pair_masks(images, masks).items()}
    assert found == {
        "1.jpg": None,
        "10.jpg": "10_mask.png",
        "11.jpg": "11_mask.png",
        "linked/14.tif": "14_mask.png",
    }


def no_val(root: Path) -> None:
    write_coco(root)
    (root / "instances_val.json").unlink()


def other_order(root: Path) -> None:
    write_coco(root, val=coco(categories=CATEGORIES[::-1]))


def twice(root: Path) -> None:
    write_coco(root, train=coco(categories=[{"id": i, "name": "cell"} for i in (1, 2)]))


def not_json(root: Path) -> None:
    write_coco(root)
    (root / "instances_train.json").write_text("{")


def without_field(root: Path) -> None:
    content = coco()
    del content["annotations"][1]["bbox"]
    write_coco(root, train=content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda root: None,
            r"no images with annotations in .*; expected.*\n  {}/ and instances_{}",
        ),
        (no_val, "has annotations in 1 image; expected two images or more"),
        (lambda root: write_coco(root, train=coco(annotations=0)), "train.json has no annotations"),
        (lambda root: write_coco(root, train={"a": 1}), "train.json has no images"),
        (other_order, r"\['cell', 'debris'\] in instances_train.json, \['debris', 'cell'\] in"),
        (twice, "more than one class named cell"),
        (not_json, "instances_train.json is not JSON"),
        (
            without_field,
            "boxes that are not x, y, width, height; .*: 1, first annotation 2 in .*None",
        ),
    ],
)
def test_a_coco_folder_that_cannot_be_used(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        coco_folder(str(tmp_path))


def test_masks_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the values \[0, 255\] only; expected two classes"):
        mask_folder(str(write_masks(tmp_path / "binary", [0, 255])))
    (tmp_path / "binary/annotations/validation/a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"mask .*validation/a.png cannot be read"):
        mask_folder(str(tmp_path / "binary"))
    colours = write_masks(tmp_path / "colours", [0, 1])
    write_image(colours / "annotations/training/a.png")
    with pytest.raises(DataError, match=r"has 3 channels \(mode RGB\); expected one"):
        mask_folder(str(colours))
    named = write_masks(tmp_path / "named", [0, 1])
    (named / "_classes.csv").write_text("value, name\n1, a\n2, b")
    with pytest.raises(DataError, match="line 2: '1, a'; expected '0, name'"):
        mask_folder(str(named))
    for text, message in {
        "a\na": "more than one class named a",
        "a": "has 1 classes; expected 2 to 255",
        "\n".join(map(str, range(256))): "has 256 classes",
    }.items():
        (named / "classes.txt").write_text(text)
        with pytest.raises(DataError, match=message):
            mask_folder(str(named))
    (named / "classes.txt").write_bytes("fen\xeatre".encode("latin-1"))
    with pytest.raises(DataError, match=r"classes.txt is not UTF-8"):
        mask_folder(str(named))
    write_image(named / "images/training/a.png")
    with pytest.raises(DataError, match=r"a\.jpg and .*a\.png have one name"):
        image_files(named / "images/training")


def test_no_folder_or_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(DataError, match=r"none is named; expected hiera-dense train CONFIG --data"):
        coco_folder()
    monkeypatch.setenv(VARIABLE, "/no/where")
    with pytest.raises(DataError, match="no folder /no/where"):
        mask_folder()


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folders of classes in .*; expected train/CLASS/ and"):
        class_folder(str(tmp_path))
    write_image(tmp_path / "train/b/1.png")
    write_image(tmp_path / "valid/b/2.png")
    with pytest.raises(DataError, match=r"train has the classes \['b'\]; expected 2 or more"):
        class_folder(str(tmp_path))
    write_image(tmp_path / "train/a/deeper/1.png")
    found = class_folder(str(tmp_path))
    assert found["classes"] == ("a", "b")
    assert (found["train"]["images"], found["val"]["images"]) == ("train", "valid")
    assert any_folder(str(tmp_path)) == found
    write_image(tmp_path / "valid/c/1.png")
    with pytest.raises(DataError, match=r"valid has the classes c, and .*train has not"):
        class_folder(str(tmp_path))


def test_classes_are_found_under_any_names_of_the_splits(tmp_path: Path) -> None:
    for place in ("training/a/1.png", "training/b/1.png", "validation/a/1.png"):
        write_image(tmp_path / place)
    assert any_folder(str(tmp_path)) == class_folder(str(tmp_path))


def test_images_without_labels(toy: Path, tmp_path: Path) -> None:
    expected = {
        "instances": ("train", "val"),
        "segments": ("images/training", "images/validation"),
        "classes": ("train", "val"),
    }
    for kind, splits in expected.items():
        found = image_folder(str(toy / kind))
        assert (found["train"]["images"], found["val"]["images"]) == splits
        assert found["classes"] == ()
    write_image(tmp_path / "a.png")
    with pytest.raises(DataError, match="fewer than 2 images in"):
        image_folder(str(tmp_path))
    write_image(tmp_path / "deeper/a.png")
    found = image_folder(str(tmp_path))
    assert found["train"] == found["val"] == dict(images="", annotations="")
