"""Results in other libraries, and our detectors in SAHI."""

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from pycocotools.coco import COCO
from sahi import AutoDetectionModel
from sahi.predict import get_prediction, get_sliced_prediction
from support.coco import LIBRARIES, average_precision
from support.documents import examples
from support.training import DELTA, DETECTOR, HEADS, run_in_process
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from hiera_dense import Predictor, Result
from hiera_dense.cli import evaluate
from hiera_dense.data.folders import VARIABLE
from hiera_dense.predict.found import Crop

CLASSES = ("disc", "square", "triangle", "star")
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))


@pytest.fixture(scope="module")
def place(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the page names; the detector is sure of objects at random."""
    folder = tmp_path_factory.mktemp("clients")
    run = folder / "work_dirs/RUN"
    run.mkdir(parents=True)
    shutil.copytree(toy / "instances", folder / "FOLDER")
    shutil.copy(folder / "FOLDER/val/0001.png", folder / "photo.jpg")
    (folder / "delta.py").write_text(DELTA.format(base=DETECTOR, heads=HEADS["mmdet"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder / "FOLDER"))
        cfg = Config.fromfile(folder / "delta.py")
    cfg.dump(run / "CONFIG.py")
    init_default_scope("mmdet")
    torch.manual_seed(0)
    detector = MODELS.build(cfg.model)
    with torch.no_grad():
        detector.roi_head.bbox_head.fc_cls.weight *= 100
        # Boxes as large as anchors, and full masks: SAHI takes no mask that is a thin line.
        detector.rpn_head.rpn_reg.weight.zero_()
        detector.roi_head.bbox_head.fc_reg.weight.zero_()
        detector.roi_head.mask_head.conv_logits.bias += 100
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES, palette=PALETTE))
    torch.save(dict(state_dict=detector.state_dict(), meta=meta), run / "best_coco.pth")
    shutil.copy(run / "best_coco.pth", run / "CHECKPOINT.pth")
    return folder


@pytest.fixture(scope="module")
def sahi_model(place: Path) -> Any:
    return AutoDetectionModel.from_pretrained(
        model_type="mmdet",
        model_path=str(place / "work_dirs/RUN/CHECKPOINT.pth"),
        config_path=str(place / "work_dirs/RUN/CONFIG.py"),
        confidence_threshold=0.3,
        device="cpu",
    )


@pytest.fixture
def result() -> Result:
    """A square twice, and a star over half of a disc."""
    masks = np.zeros((4, 40, 60), bool)
    boxes = [(5, 5, 15, 15), (6, 5, 15, 15), (20, 10, 40, 30), (30, 10, 50, 30)]
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return Result(
        size=(40, 60),
        classes=CLASSES,
        palette=PALETTE,
        boxes=np.array(boxes, np.float32),
        scores=np.array([0.9, 0.8, 0.7, 0.6], np.float32),
        labels=np.array([1, 1, 0, 3]),
        crops=tuple(map(Crop.of, masks)),
        image=np.full((40, 60, 3), 100, np.uint8),
    )


def moved(truth: Path) -> list[Result]:
    """The objects of each image of a file, found a little beside their places."""
    coco = COCO(str(truth))
    names = {category["id"]: category["name"] for category in coco.dataset["categories"]}
    random = np.random.default_rng(0)
    results = []
    for image in coco.dataset["images"]:
        objects = coco.imgToAnns[image["id"]]
        boxes = np.array([entry["bbox"] for entry in objects], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        masks = [np.roll(coco.annToMask(e), random.integers(-3, 4, 2), (0, 1)) for e in objects]
        results.append(
            Result(
                size=(image["height"], image["width"]),
                classes=CLASSES,
                palette=PALETTE,
                boxes=boxes + random.normal(0, 2, boxes.shape).astype(np.float32),
                scores=random.random(len(objects)).astype(np.float32),
                labels=np.array([CLASSES.index(names[e["category_id"]]) for e in objects]),
                crops=tuple(Crop.of(mask.astype(bool)) for mask in masks),
            )
        )
    return results


def test_supervision_has_names_of_classes(result: Result) -> None:
    detections = result.to_supervision()
    assert detections["class_name"].tolist() == ["square", "square", "disc", "star"]
    assert detections[detections["class_name"] == "star"].xyxy.tolist() == [[30, 10, 50, 30]]
    assert np.array_equal(detections.mask, result.masks)
    once = detections.with_nms(0.5)
    assert once["class_name"].tolist() == ["square", "disc", "star"]


@pytest.mark.parametrize("annotator", [sv.LabelAnnotator, sv.RichLabelAnnotator])
def test_annotators_write_names(annotator: Any, result: Result) -> None:
    detections, image = result.to_supervision(), Image.fromarray(result.image)
    drawn = np.asarray(annotator().annotate(image.copy(), detections))
    expected = annotator().annotate(image.copy(), detections, labels=result.names)
    numbers = annotator().annotate(image.copy(), detections, labels=["1", "1", "0", "3"])
    assert np.array_equal(drawn, np.asarray(expected))
    assert not np.array_equal(drawn, np.asarray(numbers))


def test_supervision_takes_a_result_without_objects_and_a_segmentation(result: Result) -> None:
    none = result.keep(1.0).to_supervision()
    assert len(none) == 0
    assert len(none.with_nms(0.5)) == 0
    segmentation = np.zeros((40, 60), np.uint8)
    segmentation[:10] = 3
    found = Result((40, 60), CLASSES, PALETTE, segmentation=segmentation).to_supervision()
    assert found["class_name"].tolist() == ["disc", "star"]
    assert found.xyxy.tolist() == [[0, 10, 60, 40], [0, 0, 60, 10]]
    assert found.mask[1].sum() == 600
    sv.MaskAnnotator().annotate(np.zeros((40, 60, 3), np.uint8), found)


def test_torchvision_draws_arrays_as_they_are(result: Result) -> None:
    assert result.image is not None
    assert result.masks is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = torch.from_numpy(result.image).movedim(-1, 0)
        colors = [result.palette[label] for label in result.labels]
        drawn = draw_segmentation_masks(image, torch.from_numpy(result.masks), 1, colors)
        boxes = torch.from_numpy(result.boxes)
        labelled = draw_bounding_boxes(drawn, boxes, result.names, colors)
    assert drawn[:, 28, 22].tolist() == [255, 0, 0]
    assert drawn[:, 12, 5].tolist() == [0, 255, 0]
    assert labelled.shape == (3, 40, 60)
    assert not torch.equal(labelled, drawn)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_libraries_agree_on_the_ap_of_coco_results(kind: str, toy: Path) -> None:
    truth = toy / "instances/instances_train.json"
    content = json.loads(truth.read_text())
    ids = {category["name"]: category["id"] for category in content["categories"]}
    found = []
    for image, result in zip(content["images"], moved(truth), strict=True):
        found += result.to_coco(image["id"], ids, first_id=len(found) + 1)
    assert [entry["id"] for entry in found] == list(range(1, len(content["annotations"]) + 1))
    if kind == "segm":  # as the page says
        found = [{k: v for k, v in entry.items() if k != "bbox"} for entry in found]
    one, two = (average_precision(name, truth, found, kind) for name in LIBRARIES)
    assert 0.1 < one[0] < 0.9
    assert np.abs(one - two).max() < 1e-9


@pytest.mark.slow
def test_sahi_finds_what_a_predictor_finds(place: Path, sahi_model: Any) -> None:
    photo = place / "photo.jpg"
    result = Predictor(place / "work_dirs/RUN", device="cpu")(photo)
    found = get_prediction(str(photo), sahi_model).object_prediction_list
    assert len(found) > 4
    assert [o.category.name for o in found] == result.names
    assert [o.score.value for o in found] == pytest.approx(result.scores, abs=1e-5)


@pytest.mark.slow
def test_sahi_goes_over_an_image_in_slices(place: Path, sahi_model: Any) -> None:
    """Objects of the last slice lie in its corner of the image, with masks of the whole."""
    photo = place / "photo.jpg"
    found = get_sliced_prediction(str(photo), sahi_model, slice_height=64, slice_width=64)
    objects = found.object_prediction_list
    assert objects
    assert {o.category.name for o in objects} <= set(CLASSES)
    corners = np.array([o.bbox.to_xyxy() for o in objects])
    assert corners[:, 2:].max() > 80
    assert corners.max() <= 96
    masks = [o.mask for o in objects if o.mask]
    assert len(masks) == len(objects)
    assert masks[0].bool_mask.shape == (96, 96)


@pytest.mark.slow
def test_the_page_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs/clients.md").read_text()
    command = re.search(r"^hiera-dense evaluate (.+)$", page, re.M)
    assert command
    monkeypatch.chdir(place)
    run_in_process(monkeypatch, evaluate.main, *command[1].split())
    space: dict[str, Any] = {}
    for example in examples("docs/clients.md"):
        exec(example, space)
    assert len(space["discs"]) <= len(space["detections"])
    assert {"disc", "square"} & set(space["detections"]["class_name"])
    for name in ("supervision.png", "torchvision.png", "sahi/prediction_visual.png"):
        assert Image.open(name).size == (96, 96)
    assert "maxDets=100" in capsys.readouterr().out
    assert space["found"]
