"""Every config parses, builds with its host, and is what its name says."""

import copy
import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from support.common import ROOT

from hiera_dense.data.folders import VARIABLE
from hiera_dense.mm.config_checks import check_config
from hiera_dense.mm.model_checks import check_model
from hiera_dense.model.arch import AUTO
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.plan import windows_for
from hiera_dense.model.variants import resolve
from hiera_dense.weights.catalog import WEIGHTS
from tools.zoo.model_zoo import DATA, recorded

CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.py") if "_base_" not in p.parts)
WHOLE = [p for p in CONFIGS if p.parent.name in ("mae", "classification")]  # of whole images
DENSE = [p for p in CONFIGS if p not in WHOLE]
PUBLIC = [p for p in CONFIGS if p.stem.split("_")[-1] in DATA]
OWN = [p for p in CONFIGS if p not in PUBLIC]
FOLLOW = [p for p in CONFIGS if p.parent.name == "own_data"]  # the data, in batch and length
SIZES = {"t": "tiny", "s": "small", "b": "base", "bplus": "base_plus", "l": "large", "h": "huge"}
NAME = re.compile(
    r"[a-z0-9-]+_hiera-(?P<size>[a-z]+)(-(?P<kind>sam2|abswin|det))?_([a-z0-9-]+_)?"
    r"(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<amp>amp-)?([a-z]+-)?(?P<length>\d+)(?P<unit>[eikx])"
    r"_[a-z0-9-]+?(-(?P<crop>\d+)x\d+)?"
)
RECORDED = recorded()
IMAGES = {"coco": 118_287, "in1k-224x224": 1_281_167}
KINDS = {
    "coco_folder": "instances",
    "coco_folder_boxes": "instances",
    "mask_folder": "segments",
    "image_folder": "segments",
    "class_folder": "classes",
    "mask-rcnn-own-data": "instances",
    "faster-rcnn-own-data": "instances",
    "upernet-own-data": "segments",
}


@pytest.fixture
def cfg(path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The config of a path; one that reads a folder gets drawn data."""
    if path in PUBLIC:
        return public(path)
    text = f"/{path.name}\n{path.read_text()}"
    if kind := [k for base, k in KINDS.items() if f"/{base}.py" in text]:
        monkeypatch.setenv(VARIABLE, str(toy / kind[0]))
    return Config.fromfile(path)


@cache
def public(path: Path) -> Config:
    """A config that reads no folder, parsed once; not to be changed."""
    return Config.fromfile(path)


def each(paths: list[Path]) -> pytest.MarkDecorator:
    assert paths
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


@each(WHOLE)
def test_a_model_of_whole_images_builds(cfg: Config) -> None:
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model | dict(init_cfg=None))
    assert isinstance(model.network, Hiera)


@each(DENSE)
def test_the_model_builds(path: Path, cfg: Config) -> None:
    init_default_scope(cfg.default_scope)
    with torch.device("meta"):
        model = MODELS.build(copy.deepcopy(cfg.model))  # some write into their config
    check_model(model, cfg.model)
    assert type(model.backbone).__name__ == "HieraBackbone"
    maps = [model.backbone.trunk.arch.dims[i] for i in model.backbone.out_indices]
    takes = next(cfg.model[k] for k in ("neck", "panoptic_head", "decode_head") if k in cfg.model)
    assert takes.in_channels == (maps if len(maps) > 1 else maps[0])
    if path.stem in RECORDED:
        # mmdet 3.5's DINO has a layer of 131,072 parameters that 3.3's has not.
        tolerance = 131_072 if cfg.model.type == "DINO" else 0
        count = sum(p.numel() for p in model.parameters())
        assert count == pytest.approx(RECORDED[path.stem].parameters, abs=tolerance)


@each(CONFIGS)
def test_numbers_and_parts_are_those_that_commands_take(cfg: Config) -> None:
    check_config(cfg, "train")
    check_config(cfg, "test")


@each([p for p in CONFIGS if p not in FOLLOW])
def test_the_name_tells_arch_batch_and_length(path: Path, cfg: Config) -> None:
    match = NAME.fullmatch(path.stem)
    assert match
    backbone = cfg.model.get("backbone", cfg.model)
    if isinstance(backbone.arch, str):
        named = SIZES[match["size"]]
        expected = {"sam2": f"sam2_{named}", "abswin": f"{named}_abswin"}.get(match["kind"], named)
        assert backbone.arch == expected
    else:
        assert match["size"] == "xs"
    assert ("rel_pos" in backbone) == (match["kind"] == "det")
    assert cfg.train_dataloader.batch_size == int(match["batch"])
    assert (cfg.optim_wrapper.type == "AmpOptimWrapper") == bool(match["amp"])
    total = int(match["gpus"]) * int(match["batch"])
    epoch = IMAGES.get(path.stem.split("_")[-1], 0) / total
    per_unit = {"i": 1, "k": 1000, "e": epoch, "x": 12 * epoch}[match["unit"]]
    assert cfg.train_cfg.max_iters == pytest.approx(int(match["length"]) * per_unit, rel=0.01)
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters
    assert max(cfg.param_scheduler[-1].get("milestones", [0])) < cfg.train_cfg.max_iters
    if match["crop"]:
        assert cfg.crop_size == (int(match["crop"]),) * 2


@each(CONFIGS)
def test_input_is_rgb_with_imagenet_statistics_padded_to_32(cfg: Config) -> None:
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean == [123.675, 116.28, 103.53]
    assert preprocessor.std == [58.395, 57.12, 57.375]
    if "backbone" not in cfg.model:  # read by Pillow, and cropped
        assert all(side % 32 == 0 for side in cfg.crop_size)
        return
    assert preprocessor.bgr_to_rgb
    divisor = preprocessor.get("pad_size_divisor") or preprocessor.get("size_divisor")
    assert divisor == 32 or all(side % 32 == 0 for side in preprocessor.size)


@each(CONFIGS)
def test_a_leaf_is_a_short_delta_with_a_header(path: Path) -> None:
    header, body = path.read_text().split("_base_", 1)
    assert len(body.splitlines()) <= 40
    assert "Hardware: " in header
    commands = ("Command: make demo", "Command: python -m tools.bench.study_positions")
    assert str(path.relative_to(ROOT)) in header or any(line in header for line in commands)


@each(FOLLOW)
def test_what_follows_the_data_is_what_was_chosen(path: Path, cfg: Config) -> None:
    choices = cfg.choices
    size = (choices.size, choices.size)
    transforms = {t.type: t for t in (*cfg.train_pipeline, *cfg.test_pipeline)}
    assert transforms["RandomCrop"].crop_size == transforms["Resize"].scale == size
    assert cfg.train_dataloader.batch_size == choices.batch
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].end == choices.epochs
    assert cfg.optim_wrapper.optimizer.lr == choices.lr
    interval = cfg.train_cfg.val_interval
    assert cfg.default_hooks.checkpoint.interval == interval == choices.val_interval
    stop = next(hook for hook in cfg.custom_hooks if hook.type == "hiera_dense.EarlyStopping")
    assert stop.monitor == cfg.default_hooks.checkpoint.save_best
    if cfg.default_scope == "mmdet":
        assert cfg.model.rpn_head.anchor_generator.scales == [choices.anchor_scale]
    weight = WEIGHTS[cfg.model.backbone.init_cfg.checkpoint]
    assert weight.arch == cfg.model.backbone.arch
    assert weight.licence in path.read_text()


@each(PUBLIC)
def test_a_public_recipe_tells_results_and_its_batch(path: Path, cfg: Config) -> None:
    header = path.read_text().split("_base_", 1)[0].replace("\n# ", " ")
    assert "Published" in header
    assert "Ours: " in header
    gpus, batch = re.search(r"_(\d+)xb(\d+)-", path.stem).groups()
    assert cfg.auto_scale_lr.base_batch_size == int(gpus) * int(batch)
    assert f"batch {int(gpus) * int(batch)}" in header
    network = cfg.model.get("backbone", cfg.model)
    if "init_cfg" not in network:
        return
    weight = WEIGHTS[network.init_cfg.checkpoint]
    assert weight.arch == network.arch
    assert weight.licence in header


@each([p for p in PUBLIC if "lsj" in p.stem])
def test_windows_at_1024_px_leave_no_padding_and_some_blocks_are_global(cfg: Config) -> None:
    assert [t.size for t in cfg.train_pipeline if t.type == "Pad"] == [(1024, 1024)]
    pads = [t.size for t in cfg.test_pipeline if t.type == "Pad"]
    # Mask2Former of mmdet takes what was padded there for a part of the image.
    assert pads == ([] if cfg.model.type == "Mask2Former" else [(1024, 1024)])
    assert ("'Pad'" in str(cfg.tta_pipeline)) == bool(pads)
    assert cfg.test_dataloader.dataset.pipeline == cfg.test_pipeline
    backbone = cfg.model.backbone
    assert backbone.get("global_att_blocks") or resolve(backbone.arch).global_att_blocks
    if backbone.get("window_spec") != AUTO:  # as published, with padding
        return
    windows = windows_for(resolve(backbone.arch, backbone.window_spec), (256, 256))
    assert all(256 // 2**stage % side[0] == 0 for stage, side in enumerate(windows))
    assert windows[2:] == ((16, 16), (8, 8))


@each([p for p in OWN if p in DENSE])
def test_classes_and_heads_follow_the_folder(cfg: Config, toy: Path) -> None:
    expected = {
        "mmdet": ("disc", "square", "triangle", "star"),
        "mmseg": ("background", "disc", "square", "triangle", "star"),
    }[cfg.default_scope]
    heads = re.findall(r"num_(?:things_)?classes=(\d+)", cfg.pretty_text)
    assert set(map(int, heads)) == {len(expected)}
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert tuple(loader.dataset.metainfo.classes) == expected
        assert len(loader.dataset.metainfo.palette) == len(expected)
        assert Path(loader.dataset.data_root).parent == toy


@each([p for p in OWN if p in WHOLE])
def test_images_come_from_the_folder(cfg: Config, toy: Path) -> None:
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert Path(loader.dataset.root).is_relative_to(toy)
        classes = loader.dataset.get("classes", ())
        assert len(classes) == cfg.model.get("num_classes", 0)


@each(OWN)
def test_the_record_of_a_run_needs_no_folder_named(
    cfg: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    cfg.dump(tmp_path / "record.py")
    assert Config.fromfile(tmp_path / "record.py").to_dict() == cfg.to_dict()


@each([p for p in OWN if p.stem.endswith("_coco-folder") or "rcnn-own-data" in p.stem])
def test_as_many_detections_are_kept_as_an_image_has_instances(
    path: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        content = json.loads((toy / "instances" / f"instances_{split}.json").read_text())
        first, last = content["annotations"][0], content["annotations"][-1]
        assert first["image_id"] != last["image_id"]
        content["annotations"] = [first | {"id": i} for i in range(1, 151)] + [last | {"id": 151}]
        (tmp_path / f"instances_{split}.json").write_text(json.dumps(content))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    model = Config.fromfile(path).model
    test_cfg = model.test_cfg.get("rcnn", model.test_cfg)
    kept = test_cfg.get("max_per_img", test_cfg.get("max_per_image"))
    assert kept == (300 if model.type == "DINO" else 150)
    head = model.get("panoptic_head", model)
    assert head.get("num_queries", kept) >= kept  # the best of queries x classes
