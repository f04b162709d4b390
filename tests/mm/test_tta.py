"""Test-time augmentation of both hosts, masks of detectors included."""

import json
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.models import DetTTAModel
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseTTAModel
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from PIL import Image
from support.common import ROOT
from support.detector import SLIDE, Bright, image_with, sample_of, sliding
from support.training import DELTA, DETECTOR, HEADS, SEGMENTER, run_in_process

from hiera_dense.cli import evaluate
from hiera_dense.data.folders import VARIABLE
from hiera_dense.mm.merging import decode

BASES = ROOT / "configs/_base_/tta"
TTA_CFG = dict(nms=dict(type="nms", iou_threshold=0.5), max_per_img=4)
AXES = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-1, -2)}


def views_of(image: torch.Tensor, model: Any) -> list[DetDataSample]:
    """What a detector finds in an image, plain and turned over."""
    found = []
    for direction in (None, *AXES):
        view = image.flip(AXES[direction]) if direction else image
        sample = sample_of(image.shape[-2:])
        sample.set_metainfo(dict(flip=direction is not None, flip_direction=direction))
        found += model.predict(view, [sample])
    return found


@pytest.mark.parametrize("slides", [False, True])
def test_views_are_turned_back_and_merged(slides: bool) -> None:
    image = image_with([(1, slice(5, 20), slice(10, 30)), (2, slice(60, 70), slice(140, 155))])
    model = MODELS.build(dict(type="hiera_dense.DetTTAModel", tta_cfg=TTA_CFG, module=Bright()))
    detector = sliding(slide=SLIDE) if slides else Bright()
    (merged,) = model.merge_preds([views_of(image, detector)])
    found = merged.pred_instances
    order = found.labels.argsort()
    assert found.bboxes[order].tolist() == [[10, 5, 30, 20], [140, 60, 155, 70]]
    masks = decode(found.masks, image.shape[-2:]) if slides else found.masks.numpy()
    for label, mask in zip(found.labels, masks, strict=True):
        assert np.array_equal(mask, image[0, 0].numpy() == label.item() + 1)


def test_boxes_are_merged_as_mmdet_does() -> None:
    ours, theirs = (
        kind(tta_cfg=Config(dict(tta=TTA_CFG)).tta, module=Bright())
        for kind in (MODELS.get("hiera_dense.DetTTAModel"), DetTTAModel)
    )

    def views() -> list[DetDataSample]:
        generator = torch.Generator().manual_seed(1)
        samples = []
        for direction in (None, "horizontal"):
            corner = torch.rand(9, 2, generator=generator) * 40
            size = torch.rand(9, 2, generator=generator) * 40
            told = dict(ori_shape=(100, 90), flip=direction is not None, flip_direction=direction)
            sample = DetDataSample(metainfo=told)
            sample.pred_instances = InstanceData(
                bboxes=torch.cat([corner, corner + size], 1),
                scores=torch.rand(9, generator=generator),
                labels=torch.arange(9) % 3,
            )
            samples.append(sample)
        return samples

    (found,), (expected,) = (model.merge_preds([views()]) for model in (ours, theirs))
    assert len(expected.pred_instances) == 4
    for key in ("bboxes", "scores", "labels"):
        assert torch.equal(found.pred_instances[key], expected.pred_instances[key])


@pytest.mark.parametrize(
    ("base", "scope", "views"), [("coco", "mmdet", 6), ("ade20k", "mmseg", 12)]
)
def test_the_base_files_build(base: str, scope: str, views: int, tmp_path: Path) -> None:
    init_default_scope(scope)
    cfg = Config.fromfile(BASES / f"{base}.py")
    host = import_module(f"{scope}.registry")
    assert issubclass(host.MODELS.get(cfg.tta_model.type), BaseTTAModel)
    augmented = host.TRANSFORMS.build(cfg.tta_pipeline[1])
    Image.new("L", (60, 40), 3).save(tmp_path / "mask.png")
    results = augmented(
        dict(
            img=np.zeros((40, 60, 3), np.uint8),
            img_shape=(40, 60),
            ori_shape=(40, 60),
            img_id=1,
            img_path="",
            instances=[],
            seg_map_path=str(tmp_path / "mask.png"),
            seg_fields=[],
            reduce_zero_label=True,
        )
    )
    assert len(results["inputs"]) == views
    samples = results["data_samples"]
    assert len({(sample.img_shape, sample.flip) for sample in samples}) == views
    if scope == "mmdet":
        assert {tuple(image.shape[1:]) for image in results["inputs"]} == {
            (side, side) for side in (768, 1024, 1280)
        }
    else:  # ADE20K's label 0 is no class
        assert {sample.gt_sem_seg.data.unique().item() for sample in samples} == {2}


DATA = {"mmdet": "instances", "mmseg": "segments"}
METRICS = {"mmdet": ("coco/bbox_mAP", "coco/segm_mAP"), "mmseg": ("mIoU",)}
TTA = """
tta_model = {model}
load, resize, *rest = _base_.test_pipeline
rest[-1] = dict(type=rest[-1].type, meta_keys=(
    'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction'))
tta_pipeline = [load, dict(type='TestTimeAug', transforms=[
    [resize, resize | dict(scale=(96, 96))],
    [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1.)],
    [rest[0]], [rest[1]]])]
"""
TTA_MODELS = {
    "mmdet": "dict(type='hiera_dense.DetTTAModel', tta_cfg=dict("
    "nms=dict(type='nms', iou_threshold=0.5), max_per_img=10))",
    "mmseg": "dict(type='SegTTAModel')",
}


@pytest.mark.parametrize("host", ["mmdet", "mmseg"])
def test_test_py_augments(
    host: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy / DATA[host]
    monkeypatch.setenv(VARIABLE, str(data))
    base = DETECTOR if host == "mmdet" else SEGMENTER
    path = tmp_path / "config.py"
    tta = TTA.format(model=TTA_MODELS[host])
    few = ", test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(max_per_img=10))"
    heads = HEADS[host] + few * (host == "mmdet")
    path.write_text(DELTA.format(base=base, heads=heads) + tta)
    init_default_scope(host)
    model = MODELS.build(Config.fromfile(path).model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / "model.pth")
    seen = []
    forward = type(model).predict
    monkeypatch.setattr(
        type(model),
        "predict",
        lambda self, *args: seen.append(args[0].shape[-1]) or forward(self, *args),
    )
    options = ["--tta", "--data", data, "--work-dir", tmp_path / "work"]
    options += ["--show-dir", tmp_path / "pictures"]
    run_in_process(monkeypatch, evaluate.main, path, tmp_path / "model.pth", *options)
    side = {"mmdet": 160, "mmseg": 128}[host]
    assert seen == [size for _ in range(3) for size, _ in product((side, 96), range(2))]
    result = json.loads(next((tmp_path / "work").glob("*/*.json")).read_text())
    assert set(METRICS[host]) <= set(result)
    assert len(list((tmp_path / "pictures").rglob("*.png"))) == 3


def test_a_config_without_settings_is_told(
    toy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = ["--tta", "--data", toy / "segments", "--work-dir", tmp_path]
    with pytest.raises(SystemExit, match="has no tta_model and no tta_pipeline; expected both"):
        run_in_process(monkeypatch, evaluate.main, SEGMENTER, "none.pth", *options)
