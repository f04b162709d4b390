"""Every config parses, builds with its host, and is what its name says."""

import re
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from hiera_dense.variants import ARCHS

CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.py") if "_base_" not in p.parts)
NAMES = {"t": "tiny", "s": "small", "b": "base", "bplus": "base_plus", "l": "large", "h": "huge"}
NAME = re.compile(
    r"(?P<method>mask-rcnn|upernet)_hiera-(?P<arch>[a-z]+)_(fpn_)?(?P<gpus>\d+)xb(?P<batch>\d+)-"
    r"(?P<amp>amp-)?(lsj-)?(?P<length>\d+[eik]+)_(?P<data>[a-z0-9-]+?)(?P<crop>-\d+x\d+)?"
)
COCO_IMAGES = 118_287

pytestmark = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


def test_the_model_builds(path: Path) -> None:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert type(model.backbone).__name__ == "HieraBackbone"
    heads = [h for n, h in model.named_modules() if n.endswith(("bbox_head", "_head", "mask_head"))]
    assert heads
    dims = list(model.backbone.trunk.arch.dims)
    assert (
        dims
        == cfg.model.get("neck", cfg.model.decode_head if "decode_head" in cfg.model else {})[
            "in_channels"
        ]
    )


def test_the_name_tells_arch_batch_and_length(path: Path) -> None:
    cfg = Config.fromfile(path)
    match = NAME.fullmatch(path.stem)
    assert match, path.stem
    assert cfg.model.backbone.arch == NAMES[match["arch"]]
    assert cfg.train_dataloader.batch_size == int(match["batch"])
    assert (cfg.optim_wrapper.type == "AmpOptimWrapper") == bool(match["amp"])
    total = int(match["gpus"]) * int(match["batch"])
    if "auto_scale_lr" in cfg:
        assert cfg.auto_scale_lr.base_batch_size == total
    number, unit = int(match["length"][:-1]), match["length"][-1]
    iterations = {"i": number, "k": 1000 * number, "e": number * COCO_IMAGES / total}[unit]
    assert cfg.train_cfg.max_iters == pytest.approx(iterations, rel=0.01)
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters
    if match["crop"]:
        assert f"-{cfg.crop_size[0]}x{cfg.crop_size[1]}" == match["crop"]


def test_input_is_rgb_with_imagenet_statistics_padded_to_32(path: Path) -> None:
    preprocessor = Config.fromfile(path).model.data_preprocessor
    assert preprocessor.bgr_to_rgb
    assert preprocessor.mean == [123.675, 116.28, 103.53]
    assert preprocessor.std == [58.395, 57.12, 57.375]
    assert preprocessor.get("pad_size_divisor", preprocessor.get("size_divisor")) == 32


def test_heads_have_the_classes_of_the_data(path: Path) -> None:
    cfg = Config.fromfile(path)
    if "metainfo" not in cfg:
        pytest.skip("classes of a public data set")
    heads = re.findall(r"num_classes=(\d+)", cfg.pretty_text)
    assert set(map(int, heads)) == {len(cfg.metainfo.classes)}
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.metainfo.classes == cfg.metainfo.classes


def test_a_leaf_is_a_short_delta_with_a_header(path: Path) -> None:
    text = path.read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 40
    header = text.split("_base_", 1)[0]
    assert "Hardware: " in header
    assert str(path.relative_to(ROOT)) in header or "Command: make demo" in header
    if "coco" in cfg_data(path) or "ade20k" in cfg_data(path):
        assert "Published" in header
        assert "Ours: " in header


def cfg_data(path: Path) -> str:
    match = NAME.fullmatch(path.stem)
    assert match
    return "" if "folder" in match["data"] else match["data"]


def test_windows_at_1024_px_leave_no_padding_and_some_global_block(path: Path) -> None:
    cfg = Config.fromfile(path)
    if cfg.get("image_size") != (1024, 1024):
        pytest.skip("another image size")
    windows = cfg.model.backbone.window_spec
    assert all(256 // 2**stage % side == 0 for stage, side in enumerate(windows))
    ends = ARCHS[cfg.model.backbone.arch].stage_ends
    assert all(ends[1] < i <= ends[2] for i in cfg.model.backbone.global_att_blocks)
    assert cfg.model.backbone.global_att_blocks
