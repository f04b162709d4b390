"""Images larger than what a network takes at once: patches, and what is merged of them."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.evaluation import CocoMetric
from mmdet.registry import MODELS as DETECTORS
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from support.detector import SIZE, SLIDE, Bright, image_with, sample_of, sliding
from support.training import DELTA, DETECTOR, HEADS, SEGMENTER, run_in_process

from hiera_dense.cli import evaluate
from hiera_dense.data.folders import VARIABLE
from hiera_dense.mm.merging import decode, encode_at, flip
from hiera_dense.mm.sliding import Slide, cut_side


@pytest.mark.parametrize(
    ("length", "crop", "stride", "starts"),
    [
        (9, 10, 4, [0]),
        (10, 10, 4, [0]),
        (11, 10, 4, [0, 1]),
        (18, 10, 8, [0, 8]),
        (19, 10, 4, [0, 4, 8, 9]),
    ],
)
def test_patches_cover_a_side_and_are_of_one_length(
    length: int, crop: int, stride: int, starts: list[int]
) -> None:
    sides = cut_side(length, length, length, 1.0, crop, stride)
    assert {side.length for side in sides} == {min(crop, length)}
    assert [side.start for side in sides] == starts
    covered = {i for side in sides for i in range(side.start, side.start + side.length)}
    assert covered == set(range(length))


@pytest.mark.parametrize(
    "nms", [{}, dict(nms=dict(type="soft_nms", iou_threshold=0.5, min_score=1e-4))]
)
def test_objects_are_found_once_and_where_they_are(nms: dict) -> None:
    """In overlaps of two and four patches, at their borders, across them, and at the image's."""
    objects = [
        (1, slice(0, 9), slice(0, 7)),
        (1, slice(45, 60), slice(45, 58)),  # seen whole by four
        (1, slice(20, 33), slice(50, 72)),  # cut by the border of the first patch at 64
        (2, slice(60, 70), slice(60, 70)),  # cut by borders on both sides
        (1, slice(90, 100), slice(150, 160)),
        (3, slice(30, 40), slice(100, 110)),
        (2, slice(30, 40), slice(110, 120)),  # another class, side by side
    ]
    image = image_with(objects)
    found = sliding(slide=SLIDE | nms).predict(image, [sample_of(SIZE)])[0].pred_instances
    assert torch.equal(found.scores, found.scores.sort(descending=True).values)
    assert len(found) == len(objects)
    expected = Bright().predict(image, [sample_of(SIZE)])[0].pred_instances
    expected.masks = [encode_at(mask.numpy(), (0, 0), SIZE) for mask in expected.masks]
    assert in_order(found) == in_order(expected)


def in_order(found: InstanceData) -> list[tuple]:
    masks = [mask["counts"] for mask in found.masks]
    return sorted(zip(found.bboxes.tolist(), found.labels.tolist(), masks, strict=True))


def test_an_object_larger_than_the_overlap_stays_in_pieces() -> None:
    """Nothing joins pieces."""
    image = image_with([(1, slice(10, 20), slice(10, 140))])
    found = sliding().predict(image, [sample_of(SIZE)])[0].pred_instances
    assert found.bboxes[:, [0, 2]].sort(0).values.tolist() == [[10, 64], [40, 104], [80, 140]]
    assert np.array_equal(decode(found.masks, SIZE).any(0), image[0, 0].numpy() > 0)


@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_a_resized_image_is_answered_in_its_own_pixels(scale: float) -> None:
    image = image_with([(1, slice(45, 60), slice(40, 58)), (2, slice(80, 90), slice(130, 150))])
    (sample,) = sliding().predict(image, [sample_of(SIZE, scale)])
    (expected,) = Bright().predict(image, [sample_of(SIZE, scale)])
    order = sample.pred_instances.labels.argsort()
    found, expected = sample.pred_instances[order], expected.pred_instances
    assert torch.equal(found.bboxes, expected.bboxes)
    size = tuple(round(side / scale) for side in SIZE)
    assert np.array_equal(decode(found.masks, size), expected.masks.numpy())


def test_padding_in_the_pipeline_moves_nothing() -> None:
    """mmdet's `Pad` makes `img_shape` that of the padded image."""
    objects = [(1, slice(45, 60), slice(40, 58)), (2, slice(80, 90), slice(130, 150))]
    image = F.pad(image_with(objects), (0, 30, 0, 90))
    sample = sample_of(SIZE, 0.5)
    sample.set_metainfo(dict(img_shape=tuple(image.shape[-2:])))
    found = sliding().predict(image, [sample])[0].pred_instances
    order = found.labels.argsort()
    assert found.bboxes[order].tolist() == [[80, 90, 116, 120], [260, 160, 300, 180]]


def test_a_patch_with_empty_masks_has_no_detections_to_refuse() -> None:
    """Mask2Former's boxes are zero where its masks are empty."""
    model = sliding(boxes=False)
    model.find = lambda image, sample: InstanceData(
        bboxes=torch.zeros(2, 4),
        labels=torch.zeros(2, dtype=torch.long),
        scores=torch.ones(2),
        masks=torch.zeros(2, *sample.ori_shape, dtype=torch.bool),
    )
    model.predict(image_with([]), [sample_of(SIZE)])


@pytest.mark.parametrize(("batch", "expected"), [(1, [1] * 8), (3, [3, 3, 2]), (99, [8])])
def test_so_many_patches_go_together(batch: int, expected: list[int]) -> None:
    seen: list[tuple[int, ...]] = []
    model = sliding(slide=SLIDE | dict(batch_size=batch), seen=seen)
    assert not len(model.predict(image_with([]), [sample_of(SIZE)])[0].pred_instances)
    assert seen == [(n, 3, 64, 64) for n in expected]


def test_images_of_a_batch_do_not_mix() -> None:
    """The smaller one is padded to the size of the larger one; one patch of it holds padding."""
    shapes = [(50, 90), SIZE]
    images = [
        image_with([(1, slice(10, 30), slice(30, 50)), (2, slice(40, 50), slice(80, 90))]),
        image_with([(3, slice(70, 100), slice(140, 160))]),
    ]
    images[0][..., 50:, :] = 7  # nothing is seen of what lies outside of it
    images[0][..., 90:] = 7
    samples = [sample_of(shape) for shape in shapes]
    found = sliding().predict(torch.cat(images), samples)
    assert [sorted(s.pred_instances.labels.tolist()) for s in found] == [[0, 1], [2]]
    assert found[0].pred_instances.masks[0]["size"] == [50, 90]
    assert sorted(found[0].pred_instances.bboxes.tolist()) == [[30, 10, 50, 30], [80, 40, 90, 50]]


def test_the_best_are_kept_of_the_whole_image() -> None:
    objects = [(1, slice(10, 12 + i), slice(20 * i + 2, 20 * i + 9)) for i in range(8)]
    slide = SLIDE | dict(max_per_img=3)
    (sample,) = sliding(slide=slide).predict(image_with(objects), [sample_of(SIZE)])
    assert sample.pred_instances.bboxes[:, 3].tolist() == [12, 13, 14]


def test_masks_of_a_patch_are_encoded_as_of_the_image() -> None:
    """As pycocotools encodes the whole image."""
    rng = np.random.default_rng(0)
    for share in (0, 0.3, 0.8, 1) * 20:
        height, width = (int(side) for side in rng.integers(3, 20, 2))
        h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
        y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        mask = rng.random((h, w)) < share
        image = np.zeros((height, width), np.uint8, order="F")
        image[y : y + h, x : x + w] = mask
        encoded = encode_at(mask, (y, x), image.shape)
        assert encoded == coco_mask.encode(image)
        assert np.array_equal(decode([encoded], image.shape)[0], image)
        for direction, turned in (
            ("horizontal", image[:, ::-1]),
            ("vertical", image[::-1]),
            ("diagonal", image[::-1, ::-1]),
        ):
            assert flip([encoded], direction) == [coco_mask.encode(np.asfortranarray(turned))]
            assert np.array_equal(flip(torch.from_numpy(image)[None], direction)[0], turned)
    assert decode([], (3, 4)).shape == (0, 3, 4)


@pytest.fixture(scope="module")
def config(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The detector of the demo, tiny, with many detections from random weights."""
    few = "test_cfg=dict(rpn=dict(max_per_img=30), rcnn=dict(score_thr=0.01, max_per_img=20))"
    path = tmp_path_factory.mktemp("config") / "plain.py"
    path.write_text(DELTA.format(base=DETECTOR, heads=f"{HEADS['mmdet']}, {few}"))
    return path


@pytest.fixture
def plain(config: Path, toy: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigDict:
    monkeypatch.setenv(VARIABLE, str(toy / "instances"))
    init_default_scope("mmdet")
    return Config.fromfile(config).model


@pytest.mark.parametrize("shape", [(64, 96), (50, 80)])
@pytest.mark.parametrize("crop", [(64, 96), (128, 128)])
def test_an_image_of_one_patch_gives_what_the_plain_detector_gives(
    plain: ConfigDict, shape: tuple[int, int], crop: tuple[int, int]
) -> None:
    detector = MODELS.build(plain).eval()
    slide = dict(crop_size=crop, stride=(32, 32))
    slides = MODELS.build(
        plain | dict(type="hiera_dense.SlidingDetector", detector="MaskRCNN", slide=slide)
    ).eval()
    slides.load_state_dict(detector.state_dict())
    image = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    with torch.no_grad():
        found, expected = (
            model.test_step(dict(inputs=[image], data_samples=[sample_of(shape, 0.5)]))[0]
            for model in (slides, detector)
        )
    found, expected = found.pred_instances, expected.pred_instances
    assert len(expected) > 5
    for key in ("bboxes", "scores", "labels"):
        assert torch.equal(found[key], expected[key])
    assert np.array_equal(decode(found.masks, expected.masks.shape[1:]), expected.masks.numpy())


def test_losses_are_those_of_the_plain_detector(plain: ConfigDict) -> None:
    model = MODELS.build(
        plain | dict(type="hiera_dense.SlidingDetector", detector="MaskRCNN", slide=SLIDE)
    )
    assert type(model).loss is DETECTORS.get("MaskRCNN").loss
    assert type(model).__name__ == "SlidingMaskRCNN"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: sliding("UNet"), "detector='UNet' is no detector of mmdet"),
        (lambda: sliding("FPN"), "detector='FPN' is no detector of mmdet"),
        (lambda: Slide((64, 64), (65, 64)), "gaps between patches; expected no stride above"),
        (lambda: Slide((64,), (64,)), r"expected \(height, width\)"),
        (lambda: Slide((64, 64), (0, 64)), r"expected \(height, width\)"),
        (
            lambda: sliding(boxes=False).predict(
                image_with([(1, slice(3), slice(3))]), [sample_of(SIZE)]
            ),
            "Bright predicts no boxes; expected a detector that does",
        ),
    ],
)
def test_what_cannot_slide_is_told(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_evaluation_on_whole_images(tmp_path: Path) -> None:
    """A detector without error has an AP of 1, of boxes and of masks."""
    objects = [
        [(1, slice(5, 45), slice(35, 58)), (2, slice(60, 75), slice(56, 78))],
        [(1, slice(36, 64), slice(90, 108))],
        [],
    ]
    annotations: list[dict] = []
    images = [dict(id=i, file_name=f"{i}", height=SIZE[0], width=SIZE[1]) for i in range(3)]
    for number, shapes in enumerate(objects):
        for value, y, x in shapes:
            mask = np.zeros(SIZE, np.uint8, order="F")
            mask[y, x] = 1
            rle = coco_mask.encode(mask)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=value,
                    iscrowd=0,
                    area=int(mask.sum()),
                    bbox=coco_mask.toBbox(rle).tolist(),
                    segmentation=rle | dict(counts=rle["counts"].decode()),
                )
            )
    categories = [dict(id=1, name="a"), dict(id=2, name="b")]
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    metric = CocoMetric(ann_file=str(file), metric=["bbox", "segm"])
    metric.dataset_meta = dict(classes=("a", "b"))
    model = sliding()
    for number, shapes in enumerate(objects):
        sample = sample_of(SIZE)
        sample.set_metainfo(dict(img_id=number))
        (sample,) = model.predict(image_with(shapes), [sample])
        metric.process({}, [sample.to_dict()])
    result = metric.evaluate(3)
    assert result["coco/bbox_mAP"] == result["coco/segm_mAP"] == 1


def test_test_py_evaluates_a_checkpoint_of_the_plain_detector(
    plain: ConfigDict, config: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On images of 160 px, in patches of 96; predictions and pictures are kept."""
    detector = MODELS.build(plain)
    checkpoint = tmp_path / "plain.pth"
    torch.save(dict(state_dict=detector.state_dict(), meta={}), checkpoint)
    options = ["--data", toy / "instances", "--work-dir", tmp_path / "work"]
    options += ["--out", tmp_path / "found.pkl", "--show-dir", tmp_path / "pictures"]
    options += ["--cfg-options", "model.type=hiera_dense.SlidingDetector"]
    options += ["model.detector=MaskRCNN", "model.slide.batch_size=2"]
    options += ["model.slide.crop_size=(96,96)", "model.slide.stride=(64,64)"]
    run_in_process(monkeypatch, evaluate.main, config, checkpoint, *options)
    result = json.loads(next((tmp_path / "work").glob("*/*.json")).read_text())
    assert {"coco/bbox_mAP", "coco/segm_mAP"} <= set(result)
    assert len(list((tmp_path / "pictures/val").glob("*.png"))) == 3
    predictions = pickle.loads((tmp_path / "found.pkl").read_bytes())
    assert len(predictions) == 3
    for prediction in predictions:
        found = prediction["pred_instances"]
        assert len(found["masks"]) == len(found["scores"]) > 20  # more than of one patch
        assert found["masks"][0]["size"] == [96, 96]
        assert found["bboxes"].max() > 60


def test_a_segmenter_slides_as_mmseg_does(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mode='slide'` on an image larger than the crop: the mean of what crops give."""
    monkeypatch.setenv(VARIABLE, str(toy / "segments"))
    init_default_scope("mmseg")
    slide = "test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(40, 40))"
    path = tmp_path / "config.py"
    path.write_text(DELTA.format(base=SEGMENTER, heads=f"{HEADS['mmseg']}, {slide}"))
    model = MODELS.build(Config.fromfile(path).model).eval()
    image = torch.randn(1, 3, 64, 100)
    with torch.no_grad():
        whole = model.inference(image, [dict(ori_shape=(64, 100), img_shape=(64, 100))])
        crop = [dict(img_shape=(64, 64))]
        left, right = (model.encode_decode(image[..., at : at + 64], crop) for at in (0, 36))
    total = torch.zeros(1, 5, 64, 100)
    total[..., :64] += left
    total[..., 36:] += right
    total[..., 36:64] /= 2
    assert torch.allclose(whole, total, atol=1e-5)
