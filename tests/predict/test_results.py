"""Results as other programs read them."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support.results import CLASSES, SIZE, detections

from hiera_dense.errors import SetupError
from hiera_dense.predict.formats import to_yolo
from hiera_dense.predict.found import Crop
from hiera_dense.predict.palette import colours
from hiera_dense.predict.results import Result


def test_plain_values_go_through_json_and_hold_all(found: Result) -> None:
    values = json.loads(json.dumps(replace(found, path="a/photo.jpg").to_dict(), allow_nan=False))
    assert (values["image"], values["height"], values["width"]) == ("a/photo.jpg", *SIZE)
    assert [o["name"] for o in values["objects"]] == ["disc", "square", "triangle"]
    assert [o["label"] for o in values["objects"]] == [0, 1, 2]
    assert np.allclose([o["score"] for o in values["objects"]], found.scores, atol=1e-6)
    assert np.allclose([o["box"] for o in values["objects"]], found.boxes, atol=1e-3)
    masks = [coco_mask.decode(o["mask"]) for o in values["objects"]]
    assert np.array_equal(masks, found.masks)


def test_plain_values_of_a_segmentation(segmented: Result) -> None:
    values = json.loads(json.dumps(segmented.to_dict(), allow_nan=False))
    assert "objects" not in values
    assert [c["name"] for c in values["classes"]] == ["background", "disc", "square"]
    assert [c["share"] for c in values["classes"]] == pytest.approx(
        list(segmented.shares.values()), abs=1e-6
    )
    for c in values["classes"]:
        mask = coco_mask.decode(c["mask"])
        assert np.array_equal(mask, segmented.segmentation == c["label"])


def test_classes_of_one_name_are_told_apart_by_label(segmented: Result) -> None:
    twice = replace(segmented, classes=("x", "y", "y", "z"))
    assert [(c["label"], c["name"]) for c in twice.to_dict()["classes"]] == [
        *((0, "x"), (1, "y"), (2, "y")),
    ]
    assert twice.shares["y"] == pytest.approx(segmented.shares["disc"] + segmented.shares["square"])
    picture = np.asarray(twice.draw())
    for label in (1, 2):  # a patch of each in the legend
        assert (picture[120:] == twice.palette[label]).all(-1).sum() > 20


def test_result_without_objects_or_masks(found: Result) -> None:
    nothing = found.keep(score=0.99)
    assert nothing.to_dict()["objects"] == nothing.to_coco() == to_yolo(nothing) == []
    assert np.array_equal(np.asarray(nothing.draw()), found.image)
    (first, *_) = replace(found, crops=None).to_dict()["objects"]
    assert set(first) == {"label", "name", "score", "box"}
    (first, *_) = replace(found, crops=None).to_coco()
    assert "segmentation" not in first
    assert first["area"] == pytest.approx(first["bbox"][2] * first["bbox"][3])


def as_coco(annotations: list[dict], size: tuple[int, int]) -> COCO:
    """A data set of one image, as pycocotools reads it."""
    coco = COCO()
    image = {"id": 7, "height": size[0], "width": size[1], "file_name": "a.jpg"}
    categories = [{"id": i, "name": str(i)} for i in {a["category_id"] for a in annotations}]
    text = json.dumps({"images": [image], "annotations": annotations, "categories": categories})
    coco.dataset = json.loads(text)
    coco.createIndex()
    return coco


def test_coco_is_read_by_pycocotools(found: Result) -> None:
    ids = {"triangle": 1, "square": 90, "disc": 4, "other": 5}
    coco = as_coco(found.to_coco(7, ids, first_id=11), SIZE)
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[7]))
    assert [a["id"] for a in annotations] == [11, 12, 13]
    assert [a["category_id"] for a in annotations] == [4, 90, 1]
    assert np.allclose([a["score"] for a in annotations], found.scores, atol=1e-6)
    assert np.array_equal([coco.annToMask(a) for a in annotations], found.masks)
    assert [a["area"] for a in annotations] == found.masks.sum((1, 2)).tolist()
    boxes = np.array([a["bbox"] for a in annotations])
    boxes[:, 2:] += boxes[:, :2]
    assert np.allclose(boxes, found.boxes, atol=2e-3)
    assert [a["category_id"] for a in found.to_coco()] == [1, 2, 3]


def test_coco_of_a_segmentation_has_a_mask_for_each_class(segmented: Result) -> None:
    coco = as_coco(segmented.to_coco(7), SIZE)
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [a["category_id"] for a in annotations] == [1, 2, 3]
    for label, a in enumerate(annotations):
        mask = segmented.segmentation == label
        assert np.array_equal(coco.annToMask(a), mask)
        assert a["area"] == mask.sum()
        left, top, width, height = (int(n) for n in a["bbox"])
        assert mask[top : top + height, left : left + width].sum() == mask.sum()
        assert mask[top].any()
        assert mask[:, left + width - 1].any()


def test_category_that_is_missing_is_named(found: Result) -> None:
    with pytest.raises(SetupError, match="square, triangle; expected all classes"):
        found.to_coco(category_ids={"disc": 1})


def polygons_read(lines: list[str], size: tuple[int, int], rounded: bool = False) -> np.ndarray:
    """Masks as Ultralytics makes them of labels, and if rounded as supervision does."""
    masks = []
    for line in lines:
        points = np.array(line.split()[1:], float).reshape(-1, 2) * (size[1], size[0])
        mask = np.zeros(size, np.uint8)
        cv2.fillPoly(mask, [(points.round() if rounded else points).astype(np.int32)], 1)
        masks.append(mask)
    return np.array(masks)


def test_outlines_of_yolo_give_the_masks_again(found: Result) -> None:
    lines = to_yolo(found)
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    for rounded in (False, True):
        assert np.array_equal(polygons_read(lines, SIZE, rounded), found.masks)


@given(mask=hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))), data=st.data())
@settings(max_examples=150, deadline=None)
def test_outline_goes_around_all_parts_of_any_mask(mask: np.ndarray, data: st.DataObject) -> None:
    top, left = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
    whole = Crop(top, left, mask).whole(size := (24, 24))
    box = np.array([[left, top, left + mask.shape[1], top + mask.shape[0]]], np.float32)
    result = Result(
        *(size, CLASSES, colours(3), box, np.ones(1), np.zeros(1, int), (Crop.of(whole),)),
    )
    (line,) = to_yolo(result)
    assert len(line.split()) >= 7  # three points; fewer numbers would be read as a box
    read = polygons_read([line], size)[0].astype(bool)
    if whole.any():
        assert read[whole].all()
    contours, _ = cv2.findContours(whole.astype(np.uint8), cv2.RETR_EXTERNAL, 1)
    if len(contours) == 1:  # holes are filled
        filled = cv2.drawContours(np.zeros(size, np.uint8), contours, -1, 1, cv2.FILLED)
        assert np.array_equal(read, filled)


def test_boxes_of_yolo_are_centre_and_size_as_shares() -> None:
    result = detections([(60, 80, 20)], with_masks=False)
    (line,) = to_yolo(result)
    label, *numbers = line.split()
    assert label == "0"
    x, y, w, h = (float(n) for n in numbers)
    sides = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * (160, 120, 160, 120)
    assert np.allclose(sides, result.boxes[0], atol=1e-3)


def test_supervision_gets_names_of_classes(
    found: Result, segmented: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fields as supervision names them; with supervision itself where it is installed."""
    try:
        import supervision  # noqa: F401
    except ImportError:
        monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    detections = found.to_supervision()
    assert np.array_equal(detections.xyxy, found.boxes)
    assert np.array_equal(detections.mask, found.masks)
    assert np.array_equal(detections.confidence, found.scores)
    assert np.array_equal(detections.class_id, found.labels)
    assert detections.data["class_name"].tolist() == found.names
    regions = segmented.to_supervision()
    assert regions.data["class_name"].tolist() == ["background", "disc", "square"]
    assert np.array_equal(regions.mask.sum(0), np.ones(SIZE))
    assert regions.xyxy[1].tolist() == [30, 20, 91, 81]
    assert len(found.keep(0.99).to_supervision().xyxy) == 0


def test_missing_supervision_is_named(found: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(SetupError, match="not installed; expected `pip install supervision`"):
        found.to_supervision()
