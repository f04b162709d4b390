"""Signals in the middle of a training, in this process; see test_stops.py for whole ones."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn

from hiera_dense.errors import SetupError
from hiera_dense.mm.resume import checkpoint_folder, checkpoint_folder_of, resume_from
from hiera_dense.mm.safe_loading import refuse_code
from hiera_dense.mm.signals import LOCK, Signals, ends_with_a_way_on, only_training_in


class Model(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
        return {"loss": (self.weight * inputs).sum()}


class Sends(Hook):
    """Sends signals to this process after iterations, counted from 1."""

    def __init__(self, signals: dict[int, int]) -> None:
        self.signals = signals

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if number := self.signals.get(runner.iter + 1):
            os.kill(os.getpid(), number)


def runner_in(
    folder: Path,
    by_epoch: bool,
    signals: dict[int, int],
    out_dir: str | None = None,
    **fields: Any,
) -> Runner:
    """A training of 3 epochs of 4 iterations, that saves at the end of each epoch."""
    refuse_code()
    loop = (
        dict(type="EpochBasedTrainLoop", max_epochs=3)
        if by_epoch
        else dict(type="IterBasedTrainLoop", max_iters=12)
    )
    hook = dict(
        type="hiera_dense.CheckpointHook",
        by_epoch=by_epoch,
        interval=1 if by_epoch else 4,
        out_dir=out_dir,
    )
    return Runner(
        Model(),
        str(folder),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.ones(1))] * 4,
            sampler=dict(type="DefaultSampler" if by_epoch else "InfiniteSampler"),
            collate_fn=dict(type="default_collate"),
            batch_size=1,
        ),
        train_cfg=loop,
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=1e-3)),
        param_scheduler=dict(type="ConstantLR", by_epoch=False),
        default_hooks=dict(checkpoint=hook),
        custom_hooks=[Sends(signals)],
        experiment_name=f"{folder.name}{len(list(folder.glob('*')))}",
        **fields,
    )


def start(runner: Runner, signals: Signals) -> None:
    runner.register_hook(signals)
    runner.train()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.pth")}


@pytest.mark.parametrize("by_epoch", [False, True])
def test_a_checkpoint_of_a_warning_is_gone_on_from(
    by_epoch: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = runner_in(tmp_path, by_epoch, {6: signal.SIGUSR1, 7: signal.SIGTERM})
    with (
        pytest.raises(SystemExit) as stopped,
        ends_with_a_way_on(tmp_path, ["hiera-dense train", "a b.py"]) as signals,
    ):
        start(runner, signals)
    assert stopped.value.code == 143
    first = "epoch_1.pth" if by_epoch else "iter_4.pth"
    assert names(tmp_path) == {first, "iter_6.pth"}
    go_on = "To go on: hiera-dense train 'a b.py' --resume"
    said = f"stopped by SIGTERM at iteration 6; saved: {tmp_path}/iter_6.pth. {go_on}"
    assert capsys.readouterr().err.strip().endswith(said)
    again = runner_in(tmp_path, by_epoch, {})
    again.cfg.work_dir = str(tmp_path)
    again.cfg.default_hooks = dict(checkpoint=dict())
    resume_from("auto", again.cfg)
    assert again.cfg.load_from == str(tmp_path / "iter_6.pth")
    again._resume, again._load_from = True, again.cfg.load_from
    again.train()
    assert again.iter == (14 if by_epoch else 12)  # an epoch is repeated from its begin
    assert again.epoch == (3 if by_epoch else 0)


def test_a_checkpoint_of_a_warning_goes_where_the_others_go(tmp_path: Path) -> None:
    sent = {6: signal.SIGUSR1, 7: signal.SIGTERM}
    kept = tmp_path / "kept" / "run"
    runner = runner_in(tmp_path / "run", False, sent, out_dir=str(kept.parent))
    with (
        pytest.raises(SystemExit),
        ends_with_a_way_on(kept, ["hiera-dense train"]) as signals,
    ):
        start(runner, signals)
    assert names(tmp_path / "run") == set()
    assert names(kept) == {"iter_4.pth", "iter_6.pth"}
    runner.cfg.work_dir = str(tmp_path / "run")
    runner.cfg.default_hooks = dict(checkpoint=dict(out_dir=str(tmp_path / "kept")))
    assert checkpoint_folder_of(runner) == checkpoint_folder(runner.cfg) == kept


def test_a_checkpoint_of_a_warning_goes_after_the_next(tmp_path: Path) -> None:
    runner = runner_in(tmp_path, False, {6: signal.SIGUSR1, 8: signal.SIGUSR1})
    with ends_with_a_way_on(tmp_path, ["hiera-dense train"]) as signals:
        start(runner, signals)
    assert names(tmp_path) == {"iter_4.pth", "iter_8.pth", "iter_12.pth"}
    assert runner.iter == 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_anything_is_saved(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = runner_in(tmp_path, True, {1: number})
    handlers = [signal.getsignal(own) for own in (number, signal.SIGUSR1)]
    with pytest.raises(SystemExit) as stopped, ends_with_a_way_on(tmp_path, ["x"]) as signals:
        start(runner, signals)
    assert stopped.value.code == 128 + number
    assert (
        "no checkpoint was saved yet, so the same command starts again" in capsys.readouterr().err
    )
    assert [signal.getsignal(own) for own in (number, signal.SIGUSR1)] == handlers


def test_one_at_a_time(tmp_path: Path) -> None:
    with only_training_in(tmp_path / "run"):
        with pytest.raises(SetupError, match="another training is running in"):
            only_training_in(tmp_path / "run").__enter__()
        assert (tmp_path / "run" / LOCK).exists()
    with only_training_in(tmp_path / "run"):
        pass


def test_an_exception_that_is_caught_is_no_way_out(tmp_path: Path) -> None:
    """mmengine catches everything where it formats a config."""

    class Catches(Sends):
        def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            try:
                super().after_train_iter(runner)
            except BaseException:
                if runner.iter == 2:
                    raise SyntaxError from None

    for number in (2, 3):
        runner = runner_in(tmp_path / str(number), False, {})
        runner.register_hook(Catches({number: signal.SIGTERM}))
        with (
            pytest.raises(SystemExit, match="143"),
            ends_with_a_way_on(tmp_path, ["x"]) as signals,
        ):
            start(runner, signals)
        assert runner.iter == number - 1
