"""Detections that an evaluation writes as COCO's result files, read by others."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmengine.registry import init_default_scope
from pycocotools.coco import COCO
from support.coco import LIBRARIES, average_precision
from support.processes import launch
from support.training import DETECTOR, SEGMENTER, Refused, run_tool

from hiera_dense.cli import evaluate
from hiera_dense.errors import SetupError
from hiera_dense.mm.coco_results import keep_coco_results, leave_boxes_out

KINDS = ("bbox", "segm")
NAMES = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")


def moved(truth: Path) -> list[dict]:
    """The objects of a file, each found a little beside its place; boxes lie beside their masks."""
    coco = COCO(str(truth))
    labels = {category: label for label, category in enumerate(coco.getCatIds())}
    random = np.random.default_rng(0)
    samples = []
    for image in coco.dataset["images"]:
        objects = coco.imgToAnns[image["id"]]
        boxes = np.array([entry["bbox"] for entry in objects], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        masks = [
            np.roll(coco.annToMask(entry), random.integers(-3, 4, 2), (0, 1)) for entry in objects
        ]
        found = dict(
            bboxes=torch.from_numpy(boxes + random.normal(0, 2, boxes.shape).astype(np.float32)),
            scores=torch.from_numpy(random.random(len(objects))),
            labels=torch.tensor([labels[entry["category_id"]] for entry in objects]),
            masks=torch.from_numpy(np.stack(masks).astype(bool)),
        )
        size = (image["height"], image["width"])
        samples.append(dict(pred_instances=found, img_id=image["id"], ori_shape=size))
    return samples


@pytest.fixture(scope="module")
def truth(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ids of images and categories with gaps; objects of small and of medium size."""
    content = json.loads((toy / "instances/instances_train.json").read_text())
    for image in content["images"]:
        image["id"] *= 10
    for annotation in content["annotations"]:
        annotation["image_id"] *= 10
        annotation["category_id"] = 90 - 7 * annotation["category_id"]
    for category in content["categories"]:
        category["id"] = 90 - 7 * category["id"]
    path = tmp_path_factory.mktemp("truth") / "truth.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def evaluated(truth: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """`FILE.json`, and what the evaluation that wrote it gave."""
    init_default_scope("mmdet")
    file = tmp_path_factory.mktemp("found") / "found.v2.json"
    cfg = dict(type="CocoMetric", ann_file=str(truth), metric=list(KINDS))
    keep_coco_results([dict(type="Mean"), cfg], file)
    metric = METRICS.build(cfg)
    metric.dataset_meta = dict(
        classes=tuple(c["name"] for c in metric._coco_api.dataset["categories"])
    )
    samples = moved(truth)
    for sample in samples:
        metric.process({}, [sample])
    result = metric.evaluate(len(samples))
    leave_boxes_out(file)
    return file, result


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", KINDS)
def test_others_get_the_ap_of_the_evaluation(
    kind: str, library: str, truth: Path, evaluated: tuple[Path, dict]
) -> None:
    """Of all sizes, also of masks; mmdet rounds to three digits."""
    file, expected = evaluated
    path = file.with_suffix(f".{kind}.json")
    found = average_precision(library, truth, path, kind)
    assert 0.1 < found[0] < 0.9
    assert min(found[3:5]) > 0.1
    ours = np.array([expected[f"coco/{kind}_{name}"] for name in NAMES])
    assert np.abs(found - ours).max() <= 5e-4 + 1e-9
    other = average_precision("pycocotools", truth, path, kind)
    assert np.abs(found - other).max() < 1e-9


def test_boxes_beside_masks_would_move_ap_by_size(
    truth: Path, evaluated: tuple[Path, dict]
) -> None:
    """Why there are two files."""
    boxes, masks = (json.loads(evaluated[0].with_suffix(f".{k}.json").read_text()) for k in KINDS)
    both = [box | mask for box, mask in zip(boxes, masks, strict=True)]
    one = average_precision("pycocotools", truth, both, "segm")
    two = average_precision("pycocotools", truth, masks, "segm")
    assert np.abs(one[:3] - two[:3]).max() < 1e-9
    assert np.abs(one[3:] - two[3:]).max() > 1e-3


def test_an_entry_has_the_ids_of_the_truth(truth: Path, evaluated: tuple[Path, dict]) -> None:
    content = json.loads(truth.read_text())
    boxes, masks = (json.loads(evaluated[0].with_suffix(f".{k}.json").read_text()) for k in KINDS)
    assert len(boxes) == len(masks) == len(content["annotations"])
    assert {box["image_id"] for box in boxes} == {image["id"] for image in content["images"]}
    named = {category["id"] for category in content["categories"]}
    assert {box["category_id"] for box in boxes} <= named
    assert set(boxes[0]) == {"image_id", "category_id", "bbox", "score"}
    assert set(masks[0]) == {"image_id", "category_id", "segmentation", "score"}
    assert isinstance(masks[0]["segmentation"]["counts"], str)


@pytest.mark.slow
def test_two_processes_write_what_one_does(
    small: dict[str, Path], toy: Path, tmp_path: Path
) -> None:
    """Of three images, of which the second process sees one twice."""
    data = toy / "instances"
    options = ["train_cfg.max_iters=1", "train_cfg.val_interval=9", "randomness.seed=0"]
    args = [small["mmdet"], "--data", data, "--work-dir", tmp_path / "run"]
    run_tool("train.py", *args, "--cfg-options", *options)
    args = [small["mmdet"], tmp_path / "run/iter_1.pth", "--data", data]
    found = []
    for processes in (0, 2):
        out = tmp_path / f"found{processes}"
        options = ["--out", out / "found.json", "--work-dir", out / "work"]
        out.mkdir()
        launch([str(a) for a in (*args, *options)], processes, evaluate.main)
        assert sorted(p.name for p in out.glob("*")) == [
            "found.bbox.json",
            "found.segm.json",
            "work",
        ]
        found.append([json.loads((out / f"found.{kind}.json").read_text()) for kind in KINDS])
    assert len(found[0][0]) > 20
    (one_boxes, one_masks), (two_boxes, two_masks) = found
    assert [e["image_id"] for e in one_boxes] == [e["image_id"] for e in two_boxes]
    for ours, theirs in zip(one_boxes, two_boxes, strict=True):
        assert ours == theirs | dict(
            bbox=pytest.approx(theirs["bbox"]), score=pytest.approx(theirs["score"])
        )
    assert len(one_masks) == len(two_masks) == len(one_boxes)
    (result,) = (tmp_path / "found2/work").glob("*/*.json")
    expected = json.loads(result.read_text())
    for kind in KINDS:
        path = tmp_path / f"found2/found.{kind}.json"
        ours = average_precision("pycocotools", data / "instances_val.json", path, kind)
        assert [expected[f"coco/{kind}_{name}"] for name in NAMES] == pytest.approx(ours, abs=6e-4)


def test_a_metric_that_is_not_cocos() -> None:
    with pytest.raises(SetupError, match="test_evaluator VOCMetric; expected CocoMetric"):
        keep_coco_results([dict(type="mmdet.VOCMetric")], Path("found.json"))


@pytest.mark.parametrize("out", ["found.txt", "found"])
def test_a_detectors_predictions_go_to_a_file_of_a_known_kind(
    out: str, toy: Path, refused: Refused
) -> None:
    args = (DETECTOR, "none.pth", "--out", out)
    message = refused(evaluate.main, *args, data=toy / "instances")
    assert f"--out {out}: expected a .json or .pkl file for a detector" in message


@pytest.mark.parametrize("out", ["found.json", "found.pkl"])
def test_a_segmenters_predictions_go_to_a_folder(out: str, toy: Path, refused: Refused) -> None:
    args = (SEGMENTER, "none.pth", "--out", out)
    message = refused(evaluate.main, *args, data=toy / "segments")
    assert f"--out {out}: expected a folder for a segmenter" in message


def test_nothing_is_left_of_an_evaluation_that_fails(
    toy: Path, tmp_path: Path, refused: Refused
) -> None:
    args = (DETECTOR, "none.pth", "--out", str(tmp_path / "found.json"))
    refused(evaluate.main, *args, "--work-dir", tmp_path / "work", data=toy / "instances")
    assert not list(tmp_path.glob("*found*"))
