"""Cropped masks beside mmdet's own: the same pixels after any transforms."""

import pickle
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from mmcv.image import rescale_size
from mmdet.registry import DATASETS
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from support.common import ROOT

from hiera_dense.mm.mask_crops import MaskCrops

SIDES = st.integers(1, 40)
STEPS = st.one_of(
    st.tuples(st.just("rescale"), st.floats(0.1, 3)),
    st.tuples(st.just("rescale"), st.tuples(SIDES, SIDES)),
    st.tuples(st.just("resize"), st.tuples(SIDES, SIDES)),
    st.tuples(st.just("flip"), st.sampled_from(["horizontal", "vertical", "diagonal"])),
    st.tuples(st.just("crop"), st.tuples(*[st.integers(-5, 45)] * 4)),
    st.tuples(st.just("pad"), st.tuples(st.integers(0, 9), st.integers(0, 9))),
    st.tuples(st.just("translate"), st.integers(-9, 9)),
)


def step(masks: BitmapMasks, name: str, value: Any) -> BitmapMasks:
    """The masks after a transform; what does not fit the size of now is made to."""
    if name == "crop":
        left, top = min(value[0], masks.width - 1), min(value[1], masks.height - 1)
        value = np.array([left, top, max(value[2], left), max(value[3], top)])
    if name == "rescale":
        assume(all(rescale_size((masks.width, masks.height), value)))  # OpenCV makes no empty one
    if name == "pad":
        value = (masks.height + value[0], masks.width + value[1])
    if name == "translate":
        return masks.translate((masks.height, masks.width), value)
    return getattr(masks, name)(value)


def equal(ours: BitmapMasks, theirs: BitmapMasks) -> None:
    assert (ours.height, ours.width, len(ours)) == (theirs.height, theirs.width, len(theirs))
    assert ours.masks.shape == theirs.masks.shape
    np.testing.assert_array_equal(ours.masks, theirs.masks)
    torch.testing.assert_close(
        ours.get_bboxes("hbox").tensor, theirs.get_bboxes("hbox").tensor, rtol=0, atol=0
    )


@given(
    st.integers(0, 3),
    SIDES,
    SIDES,
    st.floats(0, 1),
    st.integers(0, 99),
    st.lists(STEPS, max_size=5),
)
def test_masks_after_any_transforms_are_mmdets(
    count: int, height: int, width: int, share: float, seed: int, steps: list[tuple[str, Any]]
) -> None:
    rng = np.random.default_rng(seed)
    masks = (rng.random((count, height, width)) < share**3).astype(np.uint8)
    ours, theirs = MaskCrops(masks, height, width), BitmapMasks(masks, height, width)
    for each in steps:
        ours, theirs = step(ours, *each), step(theirs, *each)
    equal(ours, theirs)
    equal(pickle.loads(pickle.dumps(ours)), theirs)


@pytest.fixture
def both() -> tuple[MaskCrops, BitmapMasks]:
    masks = np.zeros((3, 30, 40), np.uint8)
    masks[0, 3:9, 4:20], masks[1, :12, 30:] = 1, 1
    return MaskCrops(masks, 30, 40), BitmapMasks(masks, 30, 40)


@pytest.mark.parametrize("index", [1, [2, 0], np.array([True, False, True]), np.array([1]), []])
def test_chosen_masks_are_mmdets(both: tuple[MaskCrops, BitmapMasks], index: Any) -> None:
    ours, theirs = both
    if isinstance(index, list):
        index = np.array(index, int)
    equal(ours[index], theirs[index])


def test_what_is_not_our_own_works_as_mmdets_does(both: tuple[MaskCrops, BitmapMasks]) -> None:
    ours, theirs = both
    equal(ours.resize((17, 50), "bilinear"), theirs.resize((17, 50), "bilinear"))
    equal(ours.pad((33, 44), 7), theirs.pad((33, 44), 7))
    equal(ours.cat([ours, theirs]), theirs.cat([theirs, theirs]))
    boxes, numbers = (
        torch.tensor([[2.0, 1.0, 25.0, 15.0], [1.0, 1.0, 9.0, 9.0]]),
        torch.tensor([0, 1]),
    )
    equal(*(m.crop_and_resize(boxes, (14, 14), numbers) for m in both))
    assert list(ours.areas) == list(theirs.areas)
    ours.masks = theirs.masks = 1 - theirs.masks  # as mmdet's CopyPaste does
    equal(ours, theirs)


def test_masks_travel_as_they_are_kept(both: tuple[MaskCrops, BitmapMasks]) -> None:
    ours = both[0].resize((900, 1200)).pad((1024, 1200))
    assert ours.masks.nbytes > 3e6
    assert len(pickle.dumps(ours)) < 3e4


@pytest.mark.parametrize(
    "name",
    ["coco_instance", "coco_instance_ms", "coco_instance_lsj", "coco_instance_lsj_mask2former"],
)
def test_a_pipeline_gives_what_mmdets_gives(name: str, toy: Path) -> None:
    cfg = Config.fromfile(ROOT / "configs" / "_base_" / "datasets" / f"{name}.py")
    init_default_scope("mmdet")
    settings = cfg.train_dataloader.dataset
    folder = toy / "instances"
    settings.update(
        data_root=str(folder),
        ann_file="instances_train.json",
        data_prefix=dict(img="train"),
        filter_cfg=None,
        metainfo=dict(classes=("disc", "square", "triangle")),
    )
    assert settings.pipeline[1].type == "hiera_dense.LoadAnnotations"
    ours = DATASETS.build(deepcopy(settings))
    settings.pipeline[1].type = "LoadAnnotations"
    theirs = DATASETS.build(settings)
    for index in range(3):
        a, b = (drawn(data, index) for data in (ours, theirs))
        torch.testing.assert_close(a["inputs"], b["inputs"], rtol=0, atol=0)
        found, expected = (x["data_samples"].gt_instances for x in (a, b))
        torch.testing.assert_close(found.bboxes.tensor, expected.bboxes.tensor, rtol=0, atol=0)
        assert found.labels.tolist() == expected.labels.tolist()
        assert type(found.masks) is not type(expected.masks)
        equal(found.masks, expected.masks)


def drawn(data: Any, index: int) -> dict[str, Any]:
    np.random.seed(index)
    random.seed(index)
    return data[index]
