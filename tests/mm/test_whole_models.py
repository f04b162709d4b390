"""A checkpoint of another model is refused when it is evaluated or goes on."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn

from hiera_dense.errors import CheckpointError
from hiera_dense.mm.safe_loading import refuse_code
from hiera_dense.mm.whole_models import WholeModel, not_finite

State = dict[str, Any]


class Model(BaseModel):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
        return {"loss": self.norm(self.layer(inputs)).sum()}


def runner_in(folder: Path, **fields: Any) -> Runner:
    refuse_code()
    return Runner(
        Model(),
        str(folder),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.randn(4)) for _ in range(8)],
            collate_fn=dict(type="default_collate"),
            sampler=dict(type="DefaultSampler", shuffle=False),
            batch_size=4,
        ),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=2),
        optim_wrapper=dict(optimizer=dict(type="Adam", lr=0.1)),
        param_scheduler=dict(type="LinearLR", start_factor=0.5, by_epoch=False),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1)),
        experiment_name=folder.name,
        **fields,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> State:
    folder = tmp_path_factory.mktemp("run")
    runner_in(folder).train()
    content: State = torch.load(folder / "iter_1.pth", weights_only=False)
    return content


def _rename(content: State) -> None:
    content["state_dict"]["layers.weight"] = content["state_dict"].pop("layer.weight")


def _reshape(content: State) -> None:
    content["state_dict"]["layer.weight"] = torch.zeros(3, 4)


def _as_integers(content: State) -> None:
    content["state_dict"]["layer.bias"] = torch.zeros(2, dtype=torch.int8)


def _sparse(content: State) -> None:
    content["state_dict"]["layer.weight"] = torch.zeros(2, 4).to_sparse()


def _nan(content: State) -> None:
    content["state_dict"]["layer.weight"][1, 1] = float("nan")


def _nan_moment(content: State) -> None:
    content["optimizer"]["state"][0]["exp_avg"][0] = float("inf")


def _no_weights(content: State) -> None:
    content["state_dict"] = {}


def _other_model(content: State) -> None:
    content["state_dict"] = nn.Conv2d(1, 1, 1).state_dict()


def _text_for_weights(content: State) -> None:
    content["state_dict"] = "none"


def _a_list_for_a_tensor(content: State) -> None:
    content["state_dict"]["layer.bias"] = [5.0, 5.0]


def _control_characters(content: State) -> None:
    content["state_dict"]["\x1b[2Jevil\n" + "x" * 3_000_000] = torch.zeros(1)


def _no_optimizer(content: State) -> None:
    content["optimizer"] = {}


def _groups_that_are_none(content: State) -> None:
    content["optimizer"]["param_groups"] = 3


def _no_moments(content: State) -> None:
    content["optimizer"]["state"] = {}


def _sparse_moment(content: State) -> None:
    content["optimizer"]["state"][0]["exp_avg"] = torch.zeros(2, 4).to_sparse()


def _moment_of_another_shape(content: State) -> None:
    content["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)


def _complex_moment(content: State) -> None:
    content["optimizer"]["state"][0]["exp_avg"] = torch.zeros(2, 4, dtype=torch.complex64)


def _rate_that_is_none(content: State) -> None:
    content["optimizer"]["param_groups"][0]["lr"] = float("nan")


def _no_schedules(content: State) -> None:
    del content["param_schedulers"]


def _schedule_with_a_method(content: State) -> None:
    content["param_schedulers"][0]["step"] = 3


def _other_groups(content: State) -> None:
    content["optimizer"]["param_groups"][0]["params"] = [0]


def _more_schedules(content: State) -> None:
    content["param_schedulers"] *= 2


CHANGES: dict[Callable[[State], None], str] = {
    _rename: "missing: layer.weight; unexpected: layers.weight",
    _reshape: r"of another shape: layer.weight \(3, 4\), expected \(2, 4\)",
    _as_integers: "of another kind: layer.bias torch.int8, expected torch.float32",
    _sparse: "of another kind: layer.weight",
    _nan: "NaN or infinity in layer.weight; expected finite weights",
    _nan_moment: "its optimizer: exp_avg of parameter 0: NaN or infinity",
    _a_list_for_a_tensor: "of another kind: layer.bias is a list, expected torch.float32",
    _control_characters: r"unexpected: '\\x1b\[2Jevil\\nx{20,120}\.\.\.'$",
    _no_optimizer: "its optimizer has 0 groups of 0 parameters, that of the config 1 of 4",
    _groups_that_are_none: "its optimizer has 0 groups",
    _no_moments: "its optimizer has no moments",
    _sparse_moment: "exp_avg of parameter 0 is torch.float32, torch.sparse_coo; expected",
    _moment_of_another_shape: r"exp_avg of parameter 0 has the shape \(3,\); expected",
    _complex_moment: "exp_avg of parameter 0 is torch.complex64",
    _rate_that_is_none: "its optimizer has lr=nan; expected a number",
    _no_schedules: r"it has 0 schedules \(param_scheduler\), the config 1",
    _schedule_with_a_method: "a schedule of it is not that of the config, LinearLR",
    _no_weights: "missing: layer.weight, layer.bias, norm.weight, norm.bias and 2 more",
    _other_model: r"missing: layer.weight.*unexpected: weight, bias",
    _text_for_weights: "its state_dict is a str; expected tensors",
    _other_groups: r"its optimizer has 1 groups of 1 parameters, that of the config 1 of 4",
    _more_schedules: r"it has 2 schedules \(param_scheduler\), the config 1; expected those",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_does_not_go_on_from_another_model(
    change: Callable[[State], None], saved: State, tmp_path: Path
) -> None:
    content = copy.deepcopy(saved)
    change(content)
    path = tmp_path / "iter_1.pth"
    torch.save(content, path)
    runner = runner_in(tmp_path, resume=True, load_from=str(path))
    runner.register_hook(WholeModel(runner))
    with pytest.raises(CheckpointError, match=CHANGES[change]):
        runner.train()
    assert runner.iter == 0


def test_a_run_goes_on_from_its_own(saved: State, tmp_path: Path) -> None:
    path = tmp_path / "iter_1.pth"
    torch.save(saved, path)
    runner = runner_in(tmp_path, resume=True, load_from=str(path))
    runner.register_hook(WholeModel(runner))
    runner.train()
    assert runner.iter == 2


def test_what_nothing_depends_on_may_be_missing_or_of_another_kind(
    saved: State, tmp_path: Path
) -> None:
    """A counter of batches; and what only a training needs, where none goes on."""
    content = copy.deepcopy(saved)
    del content["state_dict"]["norm.num_batches_tracked"]
    _nan_moment(content)
    path = tmp_path / "iter_1.pth"
    torch.save(content, path)
    runner = runner_in(tmp_path, load_from=str(path))
    runner.register_hook(WholeModel(runner))
    runner.load_or_resume()
    assert torch.equal(runner.model.layer.bias, saved["state_dict"]["layer.bias"])


def test_a_training_starts_from_what_fits(
    saved: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As mmengine does, but told; of another model altogether it does not start."""
    content = dict(state_dict=dict(saved["state_dict"]))
    _reshape(content)
    path = tmp_path / "whole.pth"
    torch.save(content, path)
    runner = runner_in(tmp_path, load_from=str(path))
    runner.register_hook(WholeModel(runner, in_part=True))
    runner.load_or_resume()
    assert torch.equal(runner.model.layer.bias, saved["state_dict"]["layer.bias"])
    assert "filled in part; of another shape: layer.weight (3, 4)" in capsys.readouterr().out
    torch.save(dict(state_dict=nn.Conv2d(1, 1, 1).state_dict()), path)
    runner = runner_in(tmp_path, load_from=str(path))
    runner.register_hook(WholeModel(runner, in_part=True))
    with pytest.raises(CheckpointError, match="not the weights of this model; missing: layer"):
        runner.load_or_resume()


def test_where_values_are_not_finite() -> None:
    bad = torch.tensor([1.0, float("nan")])
    content = {"a": [torch.ones(2), {"b": bad}], "c": 3, "d": torch.zeros(0), "e": -bad.log()}
    assert list(not_finite(content)) == ["a.1.b", "e"]
