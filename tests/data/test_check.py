"""What is found in a folder before a training on it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from pycocotools import mask as coco_mask
from support.folders import SIZE, coco, write_coco, write_image, write_masks

from hiera_dense.data.check import Findings, check, tell
from hiera_dense.data.folders import any_folder, image_folder
from hiera_dense.errors import DataError


def findings_of(root: Path) -> Findings:
    return check(any_folder(str(root)))


def kinds(found: dict[str, list[str]]) -> list[str]:
    return [kind.split(",")[0] for kind in found]


def test_sound_folders_have_no_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for root in (write_coco(tmp_path / "coco"), write_masks(tmp_path / "masks", [0, 1, 2])):
        folder = any_folder(str(root))
        findings = check(folder)
        assert not findings.errors
        assert not findings.notes
        tell(folder, findings)
    assert "3 classes: class_0, class_1, class_2" in capsys.readouterr().out


def test_a_folder_of_many_classes_and_a_crowd(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    categories = [{"id": 2 * i + 1, "name": f"kind {i}"} for i in range(1203)]
    content = coco(categories=categories)
    rle = dict(size=[30, 40], counts=[100, 50, 1050])
    crowd = dict(iscrowd=1, segmentation=rle, bbox=[3, 0, 2, 30])
    content["annotations"] += [content["annotations"][0] | crowd | {"id": 9 + i} for i in range(99)]
    content["images"].append(content["images"][0] | {"id": 2})
    folder = any_folder(str(write_coco(tmp_path, train=content, val=content)))
    findings = check(folder)
    assert not findings.errors
    assert {kind: found.total for kind, found in findings.notes.items()} == {
        "crowd regions, whose inside counts as background": 99,
        "training images without annotations, left out where filter_empty_gt is set": 1,
        "classes without training instances": 1201,
        "validation images without annotations": 1,
        "classes without validation instances": 1201,
        **{
            f"{name} images that are listed more than once": 1
            for name in ("training", "validation")
        },
        "classes of which over 20% of the training annotations are not learned from": 1,
        "classes of which over 20% of the validation annotations are not evaluated": 1,
    }
    tell(folder, findings)
    assert "1203 classes: kind 0, " in (out := capsys.readouterr().out)
    assert "kind 19, ...\n" in out


def changed(**fields: object) -> Callable[[dict], None]:
    """Changes the first annotation."""
    return lambda content: content["annotations"][0].update(fields)


def taller(content: dict) -> None:
    content["images"][0]["height"] = 31


def test_images_of_another_size_than_annotated(tmp_path: Path) -> None:
    content = coco()
    taller(content)
    findings = findings_of(write_coco(tmp_path, train=content))
    assert kinds(findings.errors) == ["images of another size than annotated"]
    ((found,),) = findings.errors.values()
    assert "(40, 30), (40, 31)" in found


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (changed(area=0), "empty annotations"),
        (changed(bbox=[4, 5, 0, 10]), "empty annotations"),
        (changed(bbox=[30, 5, 20, 10]), "boxes that leave their image"),
        (changed(bbox=[10, 5, 2, 10]), "validation boxes that are not those of their masks"),
        (changed(segmentation=[]), "annotations without a mask"),
        (changed(ignore=1), "annotations marked ignore"),
        (changed(iscrowd=1), "classes of which no validation annotation is evaluated"),
        (changed(id=0), "annotation ids from 0"),
        (changed(category_id=3), "classes without validation instances"),
        (
            lambda c: c["annotations"].extend(
                c["annotations"][0] | {"id": i} for i in range(10, 110)
            ),
            "images with more than 100 instances of one class",
        ),
        (
            lambda c: c["images"].append(c["images"][0] | {"id": 2}),
            "validation images without annotations",
        ),
    ],
)
def test_notes_on_annotations(tmp_path: Path, change: Callable[[dict], None], kind: str) -> None:
    content = coco()
    change(content)
    findings = findings_of(write_coco(tmp_path, val=content))
    assert not findings.errors
    assert kind in kinds(findings.notes)


@pytest.mark.parametrize("compressed", [True, False])
def test_both_kinds_of_rle_are_read(tmp_path: Path, compressed: bool) -> None:
    counts = coco_mask.encode(np.asfortranarray(np.eye(30, 40, dtype=np.uint8)))["counts"].decode()
    content = coco()
    rle = dict(size=[30, 40], counts=counts if compressed else [100, 50, 1050])
    changed(segmentation=rle, bbox=[0, 0, 30, 30] if compressed else [3, 0, 2, 30])(content)
    findings = findings_of(write_coco(tmp_path, train=content, val=content))
    assert not findings.errors
    assert not findings.notes


def test_images_missing_or_unreadable_or_turned(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: readers swap width and height
    Image.new("RGB", SIZE[::-1]).save(root / "train/a.png", exif=exif)
    (root / "val/a.png").write_bytes(b"")
    assert findings_of(root).errors == {"unreadable images": [str(root / "val/a.png")]}
    (root / "val/a.png").unlink()
    assert findings_of(root).errors == {"missing images": [str(root / "val/a.png")]}


def test_images_of_many_channels_have_a_size(tmp_path: Path) -> None:
    root = write_masks(tmp_path, [0, 1])
    file = root / "images/training/a.tif"
    (root / "images/training/a.jpg").unlink()
    tifffile.imwrite(file, np.zeros((*SIZE[::-1], 5), np.uint16), planarconfig="contig")
    assert not findings_of(root).errors
    file.write_bytes(b"II*")
    assert findings_of(root).errors == {"unreadable images": [str(file)]}


def test_errors_in_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_masks(tmp_path, [0, 1, 7, 255])
    (root / "classes.txt").write_text("a\nb\nc")
    write_image(root / "images/training/alone.jpg")
    Image.new("L", (9, 9)).save(root / "annotations/validation/a.png")
    folder = any_folder(str(root))
    findings = check(folder)
    training, validation = (root / "annotations" / s / "a.png" for s in ("training", "validation"))
    assert findings.errors == {
        "images without a mask": [str(root / "images/training/alone.jpg")],
        "masks with values outside the classes (0 to 2, or 255 to ignore)": [f"{training}: [7]"],
        "masks of another size than their image": [f"{validation}: (9, 9), {SIZE}"],
    }
    assert findings.notes["classes without training pixels"] == ["2 (c)"]
    with pytest.raises(DataError, match="cannot be trained on"):
        tell(folder, findings)
    assert "error: images without a mask: 1, first" in capsys.readouterr().out


def test_masks_that_are_images_and_masks_without_one(tmp_path: Path) -> None:
    root = write_masks(tmp_path, [0, 1])
    (root / "classes.txt").write_text("a\nb")
    write_image(root / "annotations/training/a.png")
    write_image(root / "annotations/training/b.png")
    findings = findings_of(root)
    assert kinds(findings.errors) == ["masks that are no index masks"]
    assert "masks without an image" in kinds(findings.notes)


def test_images_of_classes_and_without(tmp_path: Path) -> None:
    for place in ("train/a/1.png", "train/b/1.png", "val/a/1.png"):
        write_image(tmp_path / place)
    (tmp_path / "train/a/2.png").write_text("no image")
    findings = findings_of(tmp_path)
    assert not findings.errors
    assert findings.notes == {
        "unreadable images, to be skipped": [str(tmp_path / "train/a/2.png")],
        "classes without validation images": ["b"],
    }
    whole = image_folder(str(tmp_path / "train"))
    assert check(whole).notes == {
        "unreadable images, to be skipped": [str(tmp_path / "train/a/2.png")]
    }
