"""The page about a folder of data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.folders import SIZE, coco, write_coco, write_image, write_masks
from support.html import check_page
from support.training import run_in_process

from hiera_dense.cli import look
from hiera_dense.data.folders import VARIABLE, coco_folder, mask_folder
from hiera_dense.errors import DataError, InputError, SetupError
from hiera_dense.predict.palette import colours
from hiera_dense.report.augmented import augment, read_recipe, recipe_for
from hiera_dense.report.data_numbers import read_split
from hiera_dense.report.look import write_look


@pytest.mark.parametrize("name", ["instances", "segments"])
def test_the_page_opens_from_the_disk(
    name: str,
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(VARIABLE, "kept")
    run_in_process(monkeypatch, look.main, toy / name, "--out", tmp_path / "page")
    assert capsys.readouterr().out.splitlines()[-1] == f"page: {tmp_path / 'page' / 'index.html'}"
    page = check_page(tmp_path / "page" / "index.html")
    pictures = [link for link in page.links if link.endswith(".jpg")]
    truth = {link for link in pictures if link.startswith("truth-")}
    assert len(truth) == 8
    assert {link for link in pictures if link not in truth} == {
        f"augmented-{image}-{draw}.jpg" for image in range(1, 7) for draw in range(1, 4)
    }
    assert "triangle" in page.text
    monkeypatch.undo()


def test_numbers_of_objects_are_those_of_the_file(toy: Path) -> None:
    folder = coco_folder(str(toy / "instances"))
    numbers, images = read_split(folder, folder["train"], "training")
    content = json.loads((toy / "instances/instances_train.json").read_text())
    assert sum(numbers.objects.values()) == len(content["annotations"])
    per_image = [a["image_id"] for a in content["annotations"]]
    assert numbers.per_image == [per_image.count(image["id"]) for image in content["images"]]
    assert sorted(numbers.areas) == sorted(a["area"] for a in content["annotations"])
    assert all(image.path.is_file() for image in images)


def test_numbers_of_pixels_are_those_of_the_masks(tmp_path: Path) -> None:
    folder = mask_folder(str(write_masks(tmp_path, [0, 1, 2, 255])))
    numbers, images = read_split(folder, folder["train"], "training")
    quarter = SIZE[0] * SIZE[1] // 4
    assert numbers.pixels == {0: quarter, 1: quarter, 2: quarter}
    assert (numbers.ignored, numbers.sizes, numbers.read) == (quarter, [SIZE], 1)
    images[0].path.write_bytes(b"no image")
    assert read_split(folder, folder["train"], "training")[0].unreadable == 1


def test_what_augmentation_makes_has_its_truth(tmp_path: Path, toy: Path) -> None:
    """Where an image is bright there is an object, wherever it was moved."""
    root = tmp_path / "data"
    shutil.copytree(toy / "segments", root)
    for split in ("training", "validation"):
        for path in (root / "annotations" / split).iterdir():
            mask = np.asarray(Image.open(path)) > 0
            bright = np.repeat(np.uint8(40 + 180 * mask)[..., None], 3, 2)
            Image.fromarray(bright).save(root / "images" / split / path.name)
            Image.fromarray(mask.astype(np.uint8)).save(path)
    (root / "classes.txt").write_text("dark\nbright\n")
    folder = mask_folder(str(root))
    sizes = set()
    for draws in augment(folder, read_recipe(folder, recipe_for(folder)), colours(2), 3, 3):
        assert len({drawn.path for drawn in draws}) == 1
        for drawn in draws:
            labels = drawn.truth.segmentation
            assert labels is not None
            assert labels.shape == drawn.pixels.shape[:2]
            level = drawn.pixels.mean(2)
            assert level[labels == 1].mean() > level[labels == 0].mean() + 60
            sizes.add(float(level.mean()))
    assert len(sizes) == 9  # no two draws are the same


def test_recipes_that_fit(tmp_path: Path, toy: Path) -> None:
    boxes = coco()
    for annotation in boxes["annotations"]:
        annotation["segmentation"] = []
    folder = coco_folder(str(write_coco(tmp_path, train=boxes, val=boxes)))
    assert recipe_for(folder).startswith("faster-rcnn")
    assert recipe_for(coco_folder(str(toy / "instances"))).startswith("mask-rcnn")
    assert recipe_for(mask_folder(str(toy / "segments"))).startswith("upernet")


def test_names_are_text_and_findings_are_shown(tmp_path: Path) -> None:
    categories = [dict(id=1, name="<script>alert(1)</script>"), dict(id=2, name="_$x$ &amp;")]
    content = coco(categories=categories)
    name = "<img src=x onerror=alert(1)>.png"
    content["images"][0]["file_name"] = name
    content["annotations"][0]["bbox"] = [4, 5, 0, 10]
    root = write_coco(tmp_path / "data", train=content, val=content)
    for split in ("train", "val"):
        write_image(root / split / name)
        Image.new("RGB", (160, 120)).save(root / split / name)  # not the size in the file
    page = check_page(write_look(str(root), out=tmp_path / "page"))
    assert "<script>alert(1)</script>" in page.text
    assert "_$x$ &amp;" in page.text
    assert "Error: " in page.text
    assert "Not drawn: mask-rcnn-own-data: " in page.text
    assert "1 training images with labels that can be read; expected 2 or more" in page.text


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("classes", "a folder for each class; expected COCO's format or index masks"),
        ("instances/train", "no images with annotations in"),
        ("nowhere", "no folder"),
    ],
)
def test_folders_that_cannot_be_looked_at(
    folder: str, message: str, toy: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        write_look(str(toy / folder), out=tmp_path / "page")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("upernet_hiera-t_1xb4-200i_mask-folder-256x256", "--config .*; expected"),
        ("mask-rcnn_hiera-t_fpn_8xb2-amp-1x_coco", "does not read a folder of COCO's format; exp"),
        ("no-such-recipe", "^--config no-such-recipe: no such file, and no config"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(
    config: str, message: str, toy: Path, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match=message):
        write_look(str(toy / "instances"), config, tmp_path / "page")
    assert not list(tmp_path.iterdir())


def test_other_files_stay(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is a folder of other files; expected a new folder"):
        write_look(str(toy / "instances"), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
