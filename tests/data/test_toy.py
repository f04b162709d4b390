"""The drawn data are what they claim to be, for the tools that read them."""

import filecmp
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from hiera_dense.data.toy import CLASSES, draw_scene, write_split


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_split(folder, "train", images=12, size=96, seed=0)
    return folder


def test_masks_and_instances_show_the_same_scene(folder: Path) -> None:
    coco = COCO(str(folder / "instances" / "instances_train.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert min(coco.anns) == 1
    for image in coco.imgs.values():
        pixels = Image.open(folder / "instances" / "train" / image["file_name"])
        assert pixels.size == (image["width"], image["height"]) == (96, 96)
        expected = np.asarray(
            Image.open(folder / "segments" / "annotations" / "training" / image["file_name"])
        )
        classes = np.zeros((96, 96), np.uint8)
        for a in coco.loadAnns(coco.getAnnIds(image["id"])):
            mask = coco.annToMask(a).astype(bool)
            assert not classes[mask].any()  # instances show what is visible, so they never overlap
            assert a["area"] == mask.sum()
            classes[mask] = a["category_id"]
        assert np.array_equal(classes, expected)


def test_every_class_and_many_scales_occur() -> None:
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng, 96)[1] for _ in range(20)]
    assert {label for scene in scenes for label, _ in scene} == set(range(len(CLASSES)))
    areas = [mask.sum() for scene in scenes for _, mask in scene]
    assert max(areas) > 20 * min(areas)


def test_a_seed_draws_the_same_again(folder: Path, tmp_path: Path) -> None:
    write_split(tmp_path, "train", images=12, size=96, seed=0)
    names = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file()]
    assert len(names) == 12 * 3 + 2
    assert all(filecmp.cmp(folder / n, tmp_path / n, shallow=False) for n in names)
