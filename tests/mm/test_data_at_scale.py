"""The examples of docs/data-at-scale.md: each builds, and a step of training goes through it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import FilterAnnotations
from mmdet.registry import TASK_UTILS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, init_default_scope
from mmengine.structures import InstanceData
from PIL import Image
from support.common import ROOT
from support.training import DELTA, HEADS

from hiera_dense.data.folders import VARIABLE
from hiera_dense.data.toy import annotation

pytestmark = pytest.mark.slow

TEXT = (ROOT / "docs/data-at-scale.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
PLAIN = '_base_ = "./configs/{}"\n'
DETECTOR, SEGMENTER = (
    PLAIN.format(name)
    for name in (
        "mask_rcnn/mask-rcnn_hiera-t_fpn_1xb2-200i_coco-folder.py",
        "upernet/upernet_hiera-t_1xb4-200i_mask-folder-256x256.py",
    )
)
# Less of everything, to spare a test time.
SMALL = {
    "mmdet": f"{HEADS['mmdet']}, roi_head=dict(bbox_head=dict(fc_out_channels=64)), train_cfg=dict("
    "rpn_proposal=dict(max_per_img=50), rcnn=dict(sampler=dict(num=8)))",
    "mmseg": HEADS["mmseg"],
}
Parse = Callable[..., Config]


@pytest.fixture(scope="module")
def crowded(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn data; a crowd in the first image, one without objects, one of a crowd alone."""
    folder = tmp_path_factory.mktemp("crowded")
    shutil.copytree(toy / "instances", folder, dirs_exist_ok=True)
    mask = np.zeros((96, 96), bool)
    mask[:60, :60] = True
    counts = [0, *[60, 36] * 59, 60, 36 + 36 * 96]
    region = annotation(mask, 0) | dict(iscrowd=1, segmentation=dict(size=[96, 96], counts=counts))
    for split in ("train", "val"):
        file = folder / f"instances_{split}.json"
        content = json.loads(file.read_text())
        for number in (97, 98):
            name = f"{number}.png"
            Image.new("RGB", (96, 96), "gray").save(folder / split / name)
            content["images"].append(dict(id=number, file_name=name, width=96, height=96))
        for number in (1, 98):
            ids = {"id": len(content["annotations"]) + 1, "image_id": number}
            content["annotations"].append(region | ids)
        file.write_text(json.dumps(content))
    return folder


@pytest.fixture
def parse(crowded: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    def parse(example: str, data: Path = crowded) -> Config:
        host = "mmseg" if "mask-folder" in example else "mmdet"
        monkeypatch.setenv(VARIABLE, str(data if host == "mmdet" else toy / "segments"))
        init_default_scope(host)
        base = tmp_path / "example.py"
        base.write_text(example.replace('"./configs/', f'"{ROOT}/configs/'))
        path = tmp_path / "small.py"
        path.write_text(DELTA.format(base=base, heads=SMALL[host]))
        return Config.fromfile(path)

    return parse


def step(cfg: Config, *numbers: int) -> dict[str, torch.Tensor]:
    """The losses of a model of random weights on some training images."""
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    model = MODELS.build(cfg.model)
    batch = model.data_preprocessor(pseudo_collate([dataset[i] for i in numbers]), training=True)
    return model(**batch, mode="loss")


def test_no_example_is_left_out() -> None:
    assert len(EXAMPLES) == 11
    assert all(example.startswith((DETECTOR, SEGMENTER)) for example in EXAMPLES)


@pytest.mark.parametrize("number", range(11))
def test_an_example_trains_a_step(parse: Parse, number: int) -> None:
    cfg = parse(EXAMPLES[number])
    total, _ = MODELS.build(cfg.model).parse_losses(step(cfg, 0, 1))
    assert total.isfinite()
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert len(DATASETS.build(loader.dataset)[0]["inputs"])
    if "tta_pipeline" in cfg:
        dataset = cfg.test_dataloader.dataset | dict(pipeline=cfg.tta_pipeline)
        assert len(DATASETS.build(dataset)[0]["inputs"]) > 1


def example_with(words: str) -> str:
    (found,) = [example for example in EXAMPLES if words in example]
    return found


def test_images_without_objects_are_trained_on(parse: Parse) -> None:
    cfg = parse(example_with("filter_empty_gt=False"))
    dataset, usual = (DATASETS.build(c.train_dataloader.dataset) for c in (cfg, parse(DETECTOR)))
    assert [len(usual), len(dataset)] == [9, 10]  # what has a crowd alone is in both
    (number,) = [i for i in range(10) if dataset.get_data_info(i)["img_id"] == 97]
    losses = step(cfg, number)
    assert sum(losses["loss_rpn_cls"]) > 0
    assert sum(losses["loss_rpn_bbox"]) == losses["loss_mask"] == losses["loss_bbox"] == 0


def test_a_crowd_is_background_or_left_alone(parse: Parse) -> None:
    """What mmdet's assigners do with a region in a crowd."""
    inside = InstanceData(priors=torch.tensor([[5.0, 5, 25, 25], [70, 70, 90, 90]]))
    for example, expected in ((DETECTOR, [0, 0]), (example_with("ignore_iof_thr"), [-1, 0])):
        cfg = parse(example)
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
        sample = dataset[0]["data_samples"]
        ignored = sample.ignored_instances
        assert ignored.bboxes.tensor.tolist() == [[0, 0, 60, 60]]
        assert len(ignored.masks) == 1
        assert ignored.masks.masks.sum() == 3600
        ignored = InstanceData(bboxes=ignored.bboxes.tensor)
        far = InstanceData(bboxes=torch.tensor([[300.0, 300, 310, 310]]), labels=torch.zeros(1))
        for stage in ("rpn", "rcnn"):
            assigner = TASK_UTILS.build(cfg.model.train_cfg[stage].assigner)
            result = assigner.assign(inside, far, ignored)
            assert result.gt_inds.tolist() == expected


def test_many_classes(parse: Parse, crowded: Path, tmp_path: Path) -> None:
    shutil.copytree(crowded, tmp_path / "data")
    for file in (tmp_path / "data").glob("*.json"):
        content = json.loads(file.read_text())
        content["categories"] = [dict(id=i + 1, name=f"kind {i}") for i in range(1203)]
        file.write_text(json.dumps(content))
    cfg = parse(example_with("class_agnostic"), tmp_path / "data")
    model = MODELS.build(cfg.model)
    assert model.roi_head.bbox_head.fc_cls.out_features == 1204
    assert model.roi_head.mask_head.conv_logits.out_channels == 1
    assert cfg.model.test_cfg.rcnn.max_per_img == 300
    assert step(cfg, 0)["loss_cls"].isfinite()


def test_rare_classes_come_more_often(parse: Parse) -> None:
    cfg = parse(example_with("ClassBalancedDataset").replace("1e-3", "1.0"))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) > len(dataset.dataset) == 9


def test_what_a_crop_leaves_of_an_object(parse: Parse) -> None:
    """Its box is recomputed; what is too small is dropped; a crop without objects stays."""
    pipeline = parse(example_with("SlidingDetector")).train_pipeline
    crop, small = (
        TRANSFORMS.build(pipeline[i] | new) for i, new in ((2, dict(crop_size=(32, 32))), (3, {}))
    )
    assert isinstance(small, FilterAnnotations)
    load = [TRANSFORMS.build(step) for step in pipeline[:2]]
    dataset = DATASETS.build(parse(DETECTOR).train_dataloader.dataset)
    rng, boxes, empty = np.random.get_state(), [], 0
    np.random.seed(0)
    for _ in range(20):
        results = dataset.get_data_info(0)
        for transform in (*load, crop, small):
            results = transform(results)
        assert results["img_shape"] == (32, 32)
        tight = results["gt_masks"].get_bboxes(type(results["gt_bboxes"])).tensor
        assert torch.equal(results["gt_bboxes"].tensor, tight)
        boxes += (tight[:, 2:] - tight[:, :2]).tolist()
        empty += not len(tight)
    np.random.set_state(rng)
    assert min(min(box) for box in boxes) > 8
    assert 0 < empty < 20
