"""Settings that follow the data: the rules at any numbers, and against other people's code."""

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import ClassBalancedDataset
from PIL import Image
from support.folders import coco, write_masks

from hiera_dense.data import rules
from hiera_dense.data.choices import Given, as_choices, choose, chosen, lines
from hiera_dense.data.choices import given as taken
from hiera_dense.data.folders import coco_folder, mask_folder
from hiera_dense.data.survey import Survey, shares, survey
from hiera_dense.errors import DataError, SetupError

SIDES = st.lists(st.floats(1, 20_000), min_size=1, max_size=50).map(np.array)
LABELS = st.lists(st.frozensets(st.integers(0, 4)), min_size=2, max_size=40)


@given(SIDES)
def test_the_size_holds_the_median_image_within_640_and_1024(sides: np.ndarray) -> None:
    size = rules.size_for(sides)
    assert size % 64 == 0
    assert 640 <= size <= 1024
    if 640 <= np.median(sides) <= 1024:
        assert np.median(sides) <= size < np.median(sides) + 64


@given(st.integers(2, 300_000))
def test_batch_and_length_have_enough_iterations(images: int) -> None:
    batch = rules.batch_for(images)
    assert 2 <= batch <= min(8, images)
    iterations = max(1, images // batch)
    assert batch == 2 or iterations >= 8
    epochs = rules.epochs_for(images, iterations)
    assert epochs >= 12
    assert epochs * iterations >= 1000
    assert 1 <= rules.warmup_for(epochs * iterations) <= 500
    assert rules.epochs_for(images, iterations, is_random=True) * iterations >= 3000
    assert 8 <= -(-epochs // rules.val_interval_for(epochs)) <= 15


@given(st.integers(2, 100_000))
def test_more_images_are_seen_less_often_but_more_in_all(images: int) -> None:
    few, many = (rules.epochs_for(n, 10_000) for n in (images, 2 * images))
    assert many <= few
    assert 2 * images * many >= images * few


@settings(deadline=None)
@given(st.lists(st.floats(0.5, 3000), min_size=1, max_size=60).map(np.array))
def test_boxes_in_reach_of_the_anchors_have_an_iou_of_half(sides: np.ndarray) -> None:
    """As mmdet measures it, with the squares of mmdet's anchors centred on the boxes."""
    from mmdet.models.task_modules import AnchorGenerator
    from mmdet.structures.bbox import bbox_overlaps

    scale, reach = rules.anchors_for(sides)
    anchors = AnchorGenerator(
        strides=list(rules.STRIDES), ratios=[1.0], scales=[scale]
    ).base_anchors
    squares = torch.cat(anchors) - torch.cat(anchors).mean(1, keepdim=True)
    half = torch.tensor(sides)[:, None] / 2
    boxes = torch.cat([-half, -half, half, half], 1).float()
    best = bbox_overlaps(boxes, squares).max(1).values
    assert reach == pytest.approx(float((best >= 0.5 - 1e-5).float().mean()), abs=1 / len(sides))


@pytest.mark.parametrize(
    ("low", "high", "scale"), [(24, 700, 8), (12, 350, 4), (6, 170, 2), (3, 85, 1)]
)
def test_anchors_are_the_largest_that_reach_the_boxes(low: float, high: float, scale: int) -> None:
    assert rules.anchors_for(np.geomspace(low, high, 100)) == (scale, 1.0)


@given(st.lists(st.tuples(st.floats(0.1, 500), st.floats(0.1, 500)), max_size=20))
def test_no_box_of_the_data_is_left_out_for_its_size(boxes: list[tuple[float, float]]) -> None:
    sides = np.array(boxes).reshape(-1, 2)
    least = rules.min_box_for(sides)
    assert 0 <= least <= 1
    if len(sides) and sides.min() > 0.02:
        assert least <= sides.min() * rules.JITTER[0]


@settings(deadline=None)
@given(LABELS)
def test_repetition_is_that_of_mmengine(labels: list[frozenset[int]]) -> None:
    class Labels(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(labels)

        def full_init(self) -> None:
            pass

        def get_cat_ids(self, index: int) -> list[int]:
            return sorted(labels[index])

    below = rules.repeat_threshold(list(shares(labels).values()))
    balanced = ClassBalancedDataset.__new__(ClassBalancedDataset)
    balanced.dataset = Labels()
    times = balanced._get_repeat_factors(balanced.dataset, below or 1e-9)
    assert rules.repetition(labels, below) == pytest.approx(np.ceil(times).mean())


def test_only_uneven_classes_are_repeated() -> None:
    assert rules.repeat_threshold([0.05] * 20) == 0
    assert rules.repeat_threshold([1.0, 0.5, 0.03]) == 0
    assert rules.repeat_threshold([1.0, 0.5, 0.01]) == 0.1
    assert rules.repeat_threshold([]) == 0


def test_the_rate_grows_with_the_root_of_the_batch() -> None:
    assert rules.rate_for(16) == 2e-4
    assert rules.rate_for(16, is_random=True) == 6e-4
    assert rules.rate_for(4) == pytest.approx(2e-4 / sqrt(4))


def folder_of(root: Path, images: int) -> Path:
    """Images of 60 x 40 px with a box of 6 x 6 px each; the last has another class."""
    content = coco(annotations=0)
    content["images"] = [
        {"id": i, "file_name": f"{i}.png", "width": 60, "height": 40} for i in range(images)
    ]
    box = coco(annotations=2)["annotations"]
    content["annotations"] = [
        box[i == images - 1] | {"id": i + 1, "image_id": i, "bbox": [3, 3, 6, 6]}
        for i in range(images)
    ]
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        (root / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def test_a_folder_in_cocos_format_is_surveyed_as_it_is(tmp_path: Path) -> None:
    found = survey(coco_folder(str(folder_of(tmp_path / "a", 100))))
    assert found.images == found.val_images == 100
    assert set(found.sides) == {60}
    assert found.boxes == pytest.approx(0.1)
    assert shares(found.labels) == {0: 0.99, 1: 0.01}
    choices = choose(coco_folder(str(tmp_path / "a")))
    assert choices["per_class"] == [0.99, 0.01]
    assert choices["anchor_scale"] == 8  # boxes of 64 px
    assert choices["repeat_below"] == 0.1
    assert choices["iterations"] == 103 // 8  # one image is there four times
    assert as_choices(json.loads(json.dumps(choices))) == choices


def test_crowds_and_boxes_under_1_px_alone_are_refused(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "a", 4)
    file = root / "instances_train.json"
    content = json.loads(file.read_text())
    for i, annotation in enumerate(content["annotations"]):
        annotation |= {"iscrowd": 1} if i % 2 else {"bbox": [3, 3, 0.5, 6]}
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"no training box of 1 px or more that is no crowd"):
        survey(coco_folder(str(root)))


def test_masks_are_surveyed_and_damaged_ones_left_to_the_check(tmp_path: Path) -> None:
    root = write_masks(tmp_path, [0, 0, 1, 255])
    (root / "classes.txt").write_text("ground\ncell\nrare")
    with pytest.raises(DataError, match=r"1 training images with labels.*; expected 2 or more"):
        survey(mask_folder(str(root)))
    for name in ("b", "c"):
        for place in ("images", "annotations"):
            source = next((root / place / "training").glob("a.*"))
            (root / place / "training" / f"{name}{source.suffix}").write_bytes(source.read_bytes())
    (root / "annotations" / "training" / "c.png").write_bytes(b"no image")
    found = survey(mask_folder(str(root)))
    assert found.images == 3
    assert list(found.labels) == [{0, 1}, {0, 1}]
    with Image.open(root / "images" / "training" / "a.jpg") as image:
        assert set(found.sides) == {max(image.size)}


SOME = Survey(10, 2, np.full(10, 700.0), np.full((10, 2), 0.1), [frozenset({0})] * 10)


def test_what_is_given_is_not_chosen() -> None:
    choices = chosen(SOME, 2, Given(size=320, batch=5))
    assert (choices["size"], choices["batch"], choices["iterations"]) == (320, 5, 2)
    assert choices["epochs"] == 500
    with taken(Given(kept=choices)):
        assert choose({"kind": "never read"}) is choices  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("what", "processes", "message"),
    [
        (Given(size=100), 1, r"--size 100; expected a multiple of 32 px, such as 96"),
        (Given(size=-64), 1, r"--size -64; expected a multiple of 32 px, such as 32"),
        (Given(batch=11), 1, r"a batch of 11 .* 10 training images; expected --batch 10 or less"),
        (Given(batch=4), 4, r"a batch of 4 in 4 process.*; expected --batch 2 or less"),
    ],
)
def test_what_cannot_be_given_is_refused(what: Given, processes: int, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        chosen(SOME, 2, what, processes)


def test_choices_are_told_in_words() -> None:
    text = "\n".join(lines(chosen(SOME, 2, Given(), 2), ("cell", "debris")))
    for said in ("10 to train on", "cell in 100.0%", "debris in 0.0%", "704 px", "batch: 2 x 2"):
        assert said in text
    assert "anchors: 32 to 512 px, which fit 100.0% of the boxes" in text


def test_a_strangers_choices_are_numbers_or_none() -> None:
    choices = dict(chosen(SOME, 2, Given()))
    assert as_choices(choices) == choices
    for bad in (dict(size="os.system"), dict(epochs=1.5), dict(per_class=[{}]), dict(more=1)):
        assert as_choices(choices | bad) is None
