"""A training with losses or weights that are no numbers stops, and saves none of them."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from hiera_dense.errors import TrainingError
from hiera_dense.mm.finite import StopAtNaN


class Model(BaseModel):
    """Its loss is the value of the data times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
        return {"loss_cls": (self.weight * inputs).sum(), "acc": inputs.sum() * float("nan")}


def run(folder: Path, values: list[float], wrapper: Any = None) -> Runner:
    optimizer = torch.optim.SGD
    model = Model()
    runner = Runner(
        model,
        str(folder),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.tensor([value])) for value in values],
            sampler=dict(type="DefaultSampler", shuffle=False),
            collate_fn=dict(type="default_collate"),
            batch_size=1,
        ),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=len(values)),
        optim_wrapper=(wrapper or OptimWrapper)(optimizer(model.parameters(), lr=1e-3)),
        default_hooks=dict(
            checkpoint=dict(type="hiera_dense.CheckpointHook", by_epoch=False, interval=1),
            stop_at_nan=dict(type="hiera_dense.StopAtNaN"),
        ),
        experiment_name=folder.name,
    )
    runner.train()
    return runner


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_stops_a_training_and_is_named(value: float, tmp_path: Path) -> None:
    last = re.escape(str(tmp_path / "iter_2.pth"))
    message = rf"iteration 3: loss -?(nan|inf), loss_cls -?(nan|inf); .*checkpoint is {last}\."
    with pytest.raises(TrainingError, match=message):
        run(tmp_path, [1.0, 2.0, value, 1.0])
    assert {path.name for path in tmp_path.glob("*.pth")} == {"iter_1.pth", "iter_2.pth"}


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    """A gradient may be infinite where the loss is not yet."""
    with pytest.raises(TrainingError, match=r"iteration 1: NaN or infinity in weight; .* No check"):
        run(tmp_path, [3e38], _with_a_huge_rate)
    assert not list(tmp_path.glob("*.pth"))


def _with_a_huge_rate(optimizer: torch.optim.Optimizer) -> OptimWrapper:
    optimizer.param_groups[0]["lr"] = 1e9
    return OptimWrapper(optimizer)


def test_numbers_go_on(tmp_path: Path) -> None:
    """Also where a metric that is no loss is NaN."""
    assert run(tmp_path, [1.0, 2.0, 3e37]).iter == 3


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Mixed precision with a scaler, on a CPU."""
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True, raising=False)

    def wrap(optimizer: torch.optim.Optimizer) -> AmpOptimWrapper:
        wrapper = AmpOptimWrapper(optimizer=optimizer, loss_scale="dynamic", dtype="bfloat16")
        wrapper.loss_scaler = torch.amp.GradScaler("cpu")
        return wrapper

    return wrap


def test_steps_that_a_scaler_skips_are_let_pass(scaled: Any, tmp_path: Path) -> None:
    runner = run(tmp_path, [1.0, *[float("inf")] * 30, 1.0], scaled)
    assert runner.iter == 32
    assert runner.optim_wrapper.loss_scaler.get_scale() < 1
    assert runner.model.weight.isfinite().all()


def test_not_more_of_them_than_a_scaler_needs(scaled: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="iteration 32: loss inf, loss_cls inf"):
        run(tmp_path, [1.0, *[float("inf")] * 40], scaled)


def test_weights_that_are_lost_are_no_skipped_step(scaled: Any, tmp_path: Path) -> None:
    class Lost(Model):
        def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
            with torch.no_grad():
                self.weight.fill_(float("nan"))
            return super().forward(inputs, mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "Model", Lost)
        with pytest.raises(TrainingError, match="iteration 1: loss nan, loss_cls nan"):
            run(tmp_path, [1.0], scaled)


def test_every_config_stops() -> None:
    """The hook is registered under the name that configs use."""
    from mmengine.registry import HOOKS

    assert isinstance(HOOKS.build(dict(type="hiera_dense.StopAtNaN")), StopAtNaN)
