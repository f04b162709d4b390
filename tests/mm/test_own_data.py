"""Recipes for own data: a run of each ends early, goes on, and is evaluated and used."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image
from support.own_data import FOLDERS, GIVEN, PARTS, recipe, small
from support.training import run_tool, scalars

from hiera_dense import Predictor
from hiera_dense.cli import train
from hiera_dense.cli.start import tell_start
from hiera_dense.errors import SetupError
from hiera_dense.mm import batch as batches
from hiera_dense.mm.batch import Trial, largest_batch
from hiera_dense.mm.early_stopping import EarlyStopping
from hiera_dense.mm.safe_loading import load_from_file


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_run_ends_early_goes_on_as_it_began_and_is_used(
    name: str, toy: Path, tmp_path: Path
) -> None:
    config, run = small(tmp_path, name), tmp_path / "run"
    data = toy / FOLDERS[name]
    out = run_tool("train.py", config, "--data", data, "--work-dir", run, *GIVEN)
    for said in ("8 to train on, 3 for", "size: 64 px", "batch: 4;", "weights: none, random"):
        assert said in out
    assert "did not improve in the last 2 records" in out
    assert (run / "epoch_3.pth").is_file()  # of 1500
    assert not (run / "epoch_2.pth").exists()
    assert not (run / "report").exists()
    report = [] if name == "upernet" else ["--no-report"]
    out = run_tool("train.py", config, "--work-dir", run, "--resume", *report)
    assert "size: 64 px" in out
    assert (f"report: {run / 'report' / 'index.html'}" in out) == (not report)
    assert (run / "report" / "index.html").is_file() == (not report)
    # It remembers that one validation was without improvement, and ends after the next one.
    assert (run / "epoch_4.pth").is_file()
    assert not (run / "epoch_5.pth").exists()
    record = Config.fromfile(run / config.name)
    assert record.model.backbone.init_cfg is None
    assert record.optim_wrapper.paramwise_cfg.layer_decay_rate == 1
    assert len(list(run.glob("best_*.pth"))) == 1
    result = Predictor(run, score=0.0)(next((toy / "instances" / "val").iterdir()))
    assert result.size == (96, 96)
    assert (result.masks is not None) == (name == "mask-rcnn")
    assert (result.segmentation is not None) == (name == "upernet")
    if name == "upernet":  # detectors have found nothing yet
        # Evaluated at the size of the run, with the averaged weights that were validated.
        validated = [s["mIoU"] for s in scalars(run) if "mIoU" in s][-1]
        run_tool("test.py", config, run / "epoch_4.pth")
        (told,) = (run / "test").glob("*/*.json")
        assert json.loads(told.read_text())["mIoU"] == validated > 0


def test_what_is_saved_is_the_average(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the formula of mmengine's MomentumAnnealingEMA, from the weights after each iteration."""
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    config, run = small(tmp_path, "upernet"), tmp_path / "run"
    averaged: dict[str, torch.Tensor] = {}

    class Averages(Hook):
        steps = 0

        def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
            for name, value in runner.model.named_parameters():
                momentum = max(1e-5, 20 / (20 + self.steps)) if self.steps else 1.0
                before = averaged.get(name, value.detach())
                averaged[name] = before + momentum * (value.detach() - before)
            self.steps += 1

    build = train.build_runner

    def recorded(cfg: Config) -> Runner:
        runner = build(cfg)
        runner.register_hook(Averages())
        return runner

    monkeypatch.setattr(train, "build_runner", recorded)
    args = ["--data", toy / "segments", "--work-dir", run, *GIVEN, "--skip-data-check"]
    monkeypatch.setattr("sys.argv", ["tool", *map(str, (config, *args))])
    train.main()
    content = load_from_file(str(run / "epoch_3.pth"))
    state, raw = content["state_dict"], content["ema_state_dict"]
    for name, value in averaged.items():
        torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(state[name], raw[f"module.{name}"]) for name in averaged)


class Stub:
    """What early stopping reads of a runner."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.max_epochs = epoch, 10
        self.train_loop = type("Loop", (), dict(stop_training=False))()
        self.message_hub = type("Hub", (), dict(runtime_info={}))()
        self.message_hub.update_info = self.message_hub.runtime_info.__setitem__
        self.logger = type("Logger", (), dict(info=print))()


def test_validations_before_the_beginning_do_not_count() -> None:
    hook = EarlyStopping(monitor="mIoU", patience=2, begin=0.5, min_delta=0.1)
    for epoch in range(1, 5):
        runner = Stub(epoch)
        hook.after_val_epoch(runner, dict(mIoU=0.0))
        assert not runner.train_loop.stop_training
    stops = []
    for epoch in (5, 6):
        runner = Stub(epoch)
        hook.after_val_epoch(runner, dict(mIoU=0.0))
        stops.append(runner.train_loop.stop_training)
    assert stops == [False, True]


@pytest.mark.parametrize("bad", [dict(begin=1.0), dict(begin=-0.1), dict(patience=0)])
def test_early_stopping_refuses_what_is_out_of_range(bad: dict[str, float]) -> None:
    with pytest.raises(SetupError, match=r"EarlyStopping\.\w+ .*; expected"):
        EarlyStopping(**dict(monitor="mIoU") | bad)


@pytest.mark.parametrize(
    ("room", "most", "found"), [(1, 64, 1), (11, 64, 8), (64, 64, 64), (99, 24, 16)]
)
def test_the_largest_batch_is_the_last_before_the_memory_ends(
    room: int, most: int, found: int
) -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= room

    assert largest_batch(fits, most) == found
    assert tried == [2**i for i in range(len(tried))]
    with pytest.raises(SetupError, match=r"one image does not fit.*; expected a smaller --size"):
        largest_batch(lambda size: False, most)


def test_a_batch_is_tried_with_real_steps(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, with memory that ends at a batch of 4."""
    monkeypatch.setenv("HIERA_DENSE_DATA", str(toy / "segments"))
    cfg = Config.fromfile(small(tmp_path, "upernet"))
    cfg.train_dataloader.dataset.pipeline[3].crop_size = (64, 64)
    cfg.model.data_preprocessor.size = (64, 64)
    cfg.model.backbone.init_cfg = None
    trial, step, sizes = Trial(cfg), Trial.step, []
    before = {name: value.clone() for name, value in trial.model.state_dict().items()}

    def limited(self: Trial, images: list) -> None:
        sizes.append(len(images))
        if len(images) >= 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        step(self, images)

    monkeypatch.setattr(Trial, "step", limited)
    assert largest_batch(trial.fits, 8) == 2
    assert sizes == [1, 1, 2, 2, 4]
    after = trial.model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert batches.get_device() == "cpu"


def uneven(root: Path, images: int) -> Path:
    """Index masks of one class, and another in the last image alone."""
    for split, number in (("training", images), ("validation", 2)):
        for place in ("images", "annotations"):
            (root / place / split).mkdir(parents=True)
        for i in range(number):
            labels = np.zeros((40, 60), np.uint8)
            labels[10:20, 10:20] = 1 + (i == images - 1)
            Image.fromarray(labels).save(root / "annotations" / split / f"{i:03}.png")
            Image.fromarray(labels).convert("RGB").save(root / "images" / split / f"{i:03}.png")
    (root / "classes.txt").write_text("ground\nleaf\nthorn")
    return root


def test_what_is_told_is_what_the_config_trains_with(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIERA_DENSE_DATA", str(toy / "instances"))
    config = tmp_path / "mine.py"
    config.write_text(
        f"_base_ = {str(recipe('mask-rcnn'))!r}\n"
        "train_cfg = dict(max_epochs=7, val_interval=3)\n"
        "train_dataloader = dict(batch_size=4)\n"
        "optim_wrapper = dict(optimizer=dict(lr=0.5))\n"
        "param_scheduler = [_base_.cosine]\n"
        "custom_hooks = [_base_.custom_hooks[1]]\n"
    )
    tell_start(Config.fromfile(config), None)
    said = capsys.readouterr().out
    assert "length: up to 7 epochs of 2 iterations, with a validation every 3 epochs" in said
    assert "batch: 4; learning rate 0.5 after 0 iterations of warm-up" in said
    assert "if coco/segm_mAP does not rise" in said
    cfg = Config.fromfile(config)
    cfg.param_scheduler, cfg.custom_hooks, cfg.optim_wrapper.optimizer.lr = None, None, None
    tell_start(cfg, None)
    said = capsys.readouterr().out
    assert "after 0 iterations of warm-up" in said
    assert "ends early" not in said


def test_images_with_rare_classes_are_there_more_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIERA_DENSE_DATA", str(uneven(tmp_path, 100)))
    cfg = Config.fromfile(recipe("upernet"))
    tell_start(cfg, None)
    assert "repeated: images with thorn, which are in less than 10.0%" in capsys.readouterr().out
    init_default_scope("mmseg")
    images = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(images) == 100 - 1 + 4
    assert [images.get_cat_ids(i) for i in (0, 99, 102)] == [[0, 1], [0, 2], [0, 2]]
    assert cfg.choices.iterations == len(images) // cfg.train_dataloader.batch_size
