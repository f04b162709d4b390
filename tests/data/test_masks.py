"""Index masks: layouts of other tools, and values that are hardly classes."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image
from support.folders import SIZE, write_image, write_masks

from hiera_dense.data.check import check
from hiera_dense.data.folders import any_folder, class_folder
from hiera_dense.errors import DataError


def written(path: Path, values: object, dtype: type = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array(values, dtype), SIZE[::-1])).save(path)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("{}/images", "{}/labels"),
        ("images/{}", "masks/{}"),
        ("images/{}", "labels/{}"),
        ("images/{}", "annotations/{}"),
        ("{}/images", "{}/masks"),
    ],
)
def test_layouts(tmp_path: Path, images: str, masks: str) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / images.format(split) / "a.jpg")
        written(tmp_path / masks.format(split) / "a.png", [0, 1])
    folder = any_folder(str(tmp_path))
    assert folder["kind"] == "masks"
    assert folder["val"] == dict(images=images.format("val"), annotations=masks.format("val"))
    assert not check(folder).errors


def test_masks_beside_their_images(tmp_path: Path) -> None:
    """As Roboflow exports them."""
    for split in ("train", "valid"):
        write_image(tmp_path / split / "a.jpg")
        written(tmp_path / split / "a_mask.png", [0, 1])
        names = "Pixel Value, Class\n0, background\n1, cell\n"
        (tmp_path / split / "_classes.csv").write_text(names)
    folder = any_folder(str(tmp_path))
    assert (folder["kind"], folder["classes"]) == ("masks", ("background", "cell"))
    findings = check(folder)
    assert not findings.errors
    assert not findings.notes
    init_default_scope("mmseg")
    data = DATASETS.build(
        dict(
            type="hiera_dense.MaskFolder",
            data_root=folder["root"],
            data_prefix=dict(img_path="train", seg_map_path=folder["train"]["annotations"]),
            metainfo=dict(classes=folder["classes"]),
            pipeline=[],
        )
    )
    assert [data[i]["seg_map_path"] for i in range(len(data))] == [
        str(tmp_path / "train/a_mask.png")
    ]


def test_folders_of_other_labels(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / split / "images/a.jpg")
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels/a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"no mask, but the labels of YOLO; expected index masks"):
        any_folder(str(tmp_path))
    with pytest.raises(DataError, match=r"the folders images, labels, which are no classes"):
        class_folder(str(tmp_path))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0], r"the values \[0\] only; expected two classes or more"),
        ([0, 255], r"the values \[0, 255\] only; .*; 255 is ignored, 1 is probably meant"),
        ([0, 128], r"the values \[0, 128\] only; .*; 0 and 1 are probably meant"),
        ([0, 50, 100, 150], r"hold 4 values up to 150: .*; expected classes counted from 0, or "),
    ],
)
def test_values_that_are_hardly_classes(tmp_path: Path, values: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        any_folder(str(write_masks(tmp_path, values)))


@pytest.mark.parametrize(
    ("values", "error"),
    [([0, 255], "training masks with fewer than two classes"), ([1], "training masks with fewer")],
)
def test_named_classes_without_pixels(tmp_path: Path, values: list[int], error: str) -> None:
    root = write_masks(tmp_path, values)
    (root / "classes.txt").write_text("background\nthing")
    (kind,) = check(any_folder(str(root))).errors
    assert kind.startswith(error)


@pytest.mark.parametrize(
    ("suffix", "dtype", "message"),
    [
        (".jpg", np.uint8, "is a JPEG file, which does not keep values"),
        (".tif", np.float32, "holds numbers of float32; expected whole numbers"),
        (".gif", np.uint8, r"has no mask, but .gif; expected index masks"),
    ],
)
def test_files_that_are_no_index_masks(
    tmp_path: Path, suffix: str, dtype: type, message: str
) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / split / "images/a.jpg")
        written(tmp_path / split / f"masks/a{suffix}", [0, 1], dtype)
    with pytest.raises(DataError, match=message):
        any_folder(str(tmp_path))


def test_masks_of_two_values_and_of_nan(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / split / "images/a.jpg")
        written(tmp_path / split / "masks/a.png", [False, True], bool)
    assert any_folder(str(tmp_path))["classes"] == ("class_0", "class_1")
    (tmp_path / "val/masks/a.png").unlink()
    written(tmp_path / "val/masks/a.tif", [0, np.nan], np.float32)
    with pytest.raises(DataError, match="holds NaN"):
        any_folder(str(tmp_path))
