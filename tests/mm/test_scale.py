"""More than one process: data parallel and FSDP, on CPUs, compared with one process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from support.common import ROOT, small_network
from support.processes import launch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel

from hiera_dense.cli import evaluate
from hiera_dense.data.folders import VARIABLE
from hiera_dense.errors import SetupError
from hiera_dense.mm.fsdp import FSDPStrategy, each_block
from hiera_dense.mm.preflight import check_dtype, check_engine
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.layers import HieraBlock
from hiera_dense.weights.files import read

pytestmark = pytest.mark.slow

LEAVES = sorted((ROOT / "configs/scale").glob("*.py"))
TINY = "dict(_delete_=True, embed_dim=24, num_heads=1, stages=(1, 2, 3, 2))"
# Nothing random in a step and no ignored pixels; GroupNorm does not look at other images. Rounding
# stays small: with this eps AdamW does not blow up gradients that are zero, as those of the biases
# of keys, and GELU has no step where ReLU has one. Classes count alike, or the loss of a batch
# would not be the mean of those of its halves.
SEGMENTER = f"""
_base_ = '{ROOT}/configs/demo/upernet_hiera-t_1xb4-200i_toy-128x128.py'
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=False)]
pipeline = [*load, dict(type='Resize', scale=(64, 64)), dict(type='PackSegInputs')]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, batch_size=2, dataset=dict(pipeline=pipeline))
val_dataloader = dict(**loader)
head = dict(
    channels=16,
    dropout_ratio=0.,
    act_cfg=dict(type='GELU'),
    norm_cfg=dict(_delete_=True, type='GN', num_groups=4),
    loss_decode=dict(class_weight=None))
model = dict(
    backbone=dict(arch={TINY}),
    decode_head=dict(**head, in_channels=[24, 48, 96, 192]),
    auxiliary_head=dict(**head, in_channels=96))
optim_wrapper = dict(optimizer=dict(lr=1e-2, eps=1e-3), clip_grad=None)
param_scheduler = None
train_cfg = dict(max_iters=5, val_interval=5, dynamic_intervals=None)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=-1))
"""
DETECTOR = f"""
_base_ = '{ROOT}/configs/demo/mask-rcnn_hiera-t_fpn_1xb3-200i_toy.py'
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, batch_size=1)
val_dataloader = dict(**loader)
extractor = dict(out_channels=16)
model = dict(
    backbone=dict(arch={TINY}),
    neck=dict(in_channels=[24, 48, 96, 192], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=extractor,
        mask_roi_extractor=extractor,
        bbox_head=dict(in_channels=16, fc_out_channels=16),
        mask_head=dict(in_channels=16, conv_out_channels=16)))
optim_wrapper = dict(optimizer=dict(lr=2e-4))
auto_scale_lr = dict(base_batch_size=1)
param_scheduler = None
train_cfg = dict(max_iters=2, val_interval=100, dynamic_intervals=None)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
randomness = dict(diff_rank_seed=True)
"""
SHARDED = f"""
_base_ = ['segmenter.py', '{ROOT}/configs/_base_/strategies/fsdp.py']
train_dataloader = dict(batch_size=1)
train_cfg = dict(val_interval=3)
"""
DATA_PARALLEL = """
_base_ = 'segmenter.py'
train_dataloader = dict(batch_size=1)
custom_hooks = [dict(type='EMAHook', momentum=0.5)]
"""
ACCUMULATING = """
_base_ = 'segmenter.py'
train_dataloader = dict(batch_size=1)
optim_wrapper = dict(accumulative_counts=2)
train_cfg = dict(max_iters=10, val_interval=100)
default_hooks = dict(checkpoint=dict(interval=10))
"""
# Compiled; where PyTorch splits graphs for data parallel, it refuses those that recompute.
COMPILED = """
_base_ = 'data_parallel.py'
model = dict(backbone=dict(compile=dict(backend='aot_eager'), with_cp='mlp'))
train_cfg = dict(val_interval=100)
"""
COMPILED_SHARDS = """
_base_ = 'sharded.py'
model = dict(backbone=dict(compile=dict(backend='eager')))
train_cfg = dict(val_interval=100)
"""


class Setting(NamedTuple):
    """Where configs, drawn data and runs are."""

    folder: Path
    toy: Path

    def args(self, config: str, run: str, *rest: str | Path) -> list[str]:
        """Arguments of train.py."""
        data = self.toy / ("instances" if config == "detector" else "segments")
        own = [self.folder / f"{config}.py", "--data", data, "--work-dir", self.folder / run]
        return [str(arg) for arg in (*own, "--skip-data-check", *rest)]

    def weights(self, run: str, name: str) -> dict[str, Tensor]:
        """What a checkpoint of a run holds."""
        return read(self.folder / run / name)[0]["state_dict"]


@pytest.fixture(scope="module")
def setting(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("scale")
    configs = dict(
        segmenter=SEGMENTER,
        detector=DETECTOR,
        sharded=SHARDED,
        data_parallel=DATA_PARALLEL,
        accumulating=ACCUMULATING,
        compiled=COMPILED,
        compiled_shards=COMPILED_SHARDS,
    )
    for name, text in configs.items():
        (folder / f"{name}.py").write_text(text)
    return Setting(folder, toy)


@pytest.fixture(scope="module")
def one(setting: Setting) -> list[Any]:
    return launch(setting.args("segmenter", "one"))


@pytest.fixture(scope="module")
def two(setting: Setting) -> list[Any]:
    return launch(setting.args("data_parallel", "two"), 2)


@pytest.fixture(scope="module")
def shards(setting: Setting) -> list[Any]:
    return launch(setting.args("sharded", "shards"), 2)


def assert_same_training(setting: Setting, one: list[Any], several: list[Any]) -> None:
    """The loss of each iteration, as the mean over processes: each logs that of its own images."""
    losses = [result["train/loss"] for result in several]
    assert len(losses[0]) == 5
    mean = [sum(values) / len(losses) for values in zip(*losses, strict=True)]
    assert mean == pytest.approx(one[0]["train/loss"], rel=1e-4)
    assert all(abs(a - b) > 1e-3 * a for a, b in zip(*losses, strict=True))


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def trained(setting: Setting) -> dict[str, Tensor]:
    """The weights of the run in one process, which have left where they were."""
    weights = setting.weights("one", "iter_5.pth")
    first = setting.weights("one", "iter_1.pth")
    name = "backbone.trunk.blocks.0.attn.qkv.weight"
    assert not torch.allclose(weights[name], first[name], rtol=1e-2, atol=1e-4)
    return weights


def test_two_processes_train_as_one(setting: Setting, one: list[Any], two: list[Any]) -> None:
    assert_same_training(setting, one, two)
    content, _ = read(setting.folder / "two/iter_5.pth")
    average = content["ema_state_dict"]  # holds what was trained: weights are the average
    found = {n.removeprefix("module."): v for n, v in average.items() if n.startswith("module.")}
    assert_close(found, trained(setting))
    assert len(two[0]["val/mIoU"]) == 1  # of all images: each process looks at its share


@pytest.mark.skipif(torch.__version__ < "2.9", reason="torch 2.9 or newer compiles the backbone")
@pytest.mark.parametrize("config", ["compiled", "compiled_shards"])
def test_a_compiled_backbone_trains_as_another(
    setting: Setting, one: list[Any], config: str
) -> None:
    assert_same_training(setting, one, launch(setting.args(config, config), 2))


def test_averaged_weights_are_what_is_saved(setting: Setting, two: list[Any]) -> None:
    name, average = "backbone.trunk.blocks.0.attn.qkv.weight", torch.empty(0)
    for iteration in range(1, 6):
        content, _ = read(setting.folder / f"two/iter_{iteration}.pth")
        weights = content["ema_state_dict"][f"module.{name}"]
        average = weights if iteration == 1 else (average + weights) / 2
        torch.testing.assert_close(content["state_dict"][name], average)
    assert not torch.allclose(average, weights)


def test_accumulated_gradients_are_those_of_a_larger_batch(
    setting: Setting, one: list[Any]
) -> None:
    """Ten iterations make five steps."""
    launch(setting.args("accumulating", "accumulating"))
    assert_close(setting.weights("accumulating", "iter_10.pth"), trained(setting))


def test_shards_train_as_one(setting: Setting, one: list[Any], shards: list[Any]) -> None:
    assert_same_training(setting, one, shards)
    weights = trained(setting)
    assert_close(setting.weights("shards", "iter_5.pth"), weights)
    total = sum(tensor.numel() for tensor in weights.values())
    assert all(result["held"] < 0.6 * total for result in shards)
    assert sum(result["held"] for result in shards) == total


def test_shards_go_on_as_if_nothing_had_happened(setting: Setting, shards: list[Any]) -> None:
    """From the iteration after the one that was saved, also where it was saved after validation."""
    middle = setting.folder / "shards/iter_3.pth"
    assert read(middle)[0]["meta"]["iter"] == 3
    results = launch(setting.args("sharded", "resumed", "--resume", middle), 2)
    for result, whole in zip(results, shards, strict=True):
        assert result["train/loss"][3:] == pytest.approx(whole["train/loss"][3:], rel=1e-6)
    expected = setting.weights("shards", "iter_5.pth")
    assert_close(setting.weights("resumed", "iter_5.pth"), expected)


def test_shards_go_on_in_another_number_of_processes(
    setting: Setting, one: list[Any], shards: list[Any]
) -> None:
    options = ("--resume", setting.folder / "shards/iter_3.pth", "--cfg-options")
    launch(setting.args("sharded", "alone", *options, "train_dataloader.batch_size=2"), 1)
    assert_close(setting.weights("alone", "iter_5.pth"), trained(setting))


def test_what_shards_saved_is_evaluated_as_any_checkpoint(
    setting: Setting, shards: list[Any]
) -> None:
    args = [setting.folder / "sharded.py", setting.folder / "shards/iter_3.pth"]
    args += ["--work-dir", setting.folder / "evaluated"]
    launch([str(arg) for arg in args], main=evaluate.main)
    (result,) = (setting.folder / "evaluated").glob("*/*.json")
    scalars = next((setting.folder / "shards").glob("*/vis_data/scalars.json")).read_text()
    expected = next(s for s in map(json.loads, scalars.splitlines()) if "mIoU" in s)
    assert json.loads(result.read_text())["mIoU"] == pytest.approx(expected["mIoU"])


def test_a_unit_of_fsdp_is_a_block() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        arch = small_network(24, (1, 2, 1, 1))
        whole = FullyShardedDataParallel(
            torch.nn.Sequential(Hiera(arch), torch.nn.Linear(192, 8)),
            auto_wrap_policy=each_block,
            device_id=torch.device("cpu"),
            use_orig_params=True,
        )
        units = FullyShardedDataParallel.fsdp_modules(whole)
        assert units[0] is whole
        assert [type(unit.module) for unit in units[1:]] == [HieraBlock] * 5
    finally:
        dist.destroy_process_group()


def test_a_detector_trains_and_goes_on_in_two_processes(setting: Setting) -> None:
    """Its samplers of regions are random, and draw other ones in each process if one says so."""
    options = ("--auto-scale-lr", "--cfg-options")
    results = launch(setting.args("detector", "detector", *options, "randomness.seed=7"), 2)
    assert [result["seed"] for result in results] == [7, 8]
    assert all(result["train/lr"] == pytest.approx([4e-4] * 2) for result in results)
    assert all(torch.tensor(result["train/loss"]).isfinite().all() for result in results)
    more = ("--resume", *options, "train_cfg.max_iters=3")
    again = launch(setting.args("detector", "detector", *more), 2)
    assert [len(result["train/loss"]) for result in again] == [3, 3]
    assert again[0]["train/loss"][:2] == results[0]["train/loss"]
    assert read(setting.folder / "detector/iter_3.pth")[0]["meta"]["seed"] == 7


def test_a_job_ends_where_a_process_is_killed_and_goes_on(setting: Setting) -> None:
    """Through torchrun; what was written last is whole."""
    args = setting.args("data_parallel", "killed", "--cfg-options", "train_cfg.max_iters=2000")
    command = [ROOT / "tools/dist_train.sh", args[0], "2", *args[1:]]
    env = {k: v for k, v in os.environ.items() if k != VARIABLE}
    env |= {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=env, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=pipe
    ) as job:
        while not (setting.folder / "killed/iter_2.pth").exists() and job.poll() is None:
            time.sleep(0.05)
        children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
        ranks = {
            Path(f"/proc/{pid}/environ").read_text().split("\0RANK=")[1][0]: int(pid)
            for pid in children
        }
        os.kill(ranks["1"], signal.SIGKILL)
        message = job.communicate()[1]
    assert job.returncode == 1
    assert "Signal 9 (SIGKILL)" in message
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks.values())
    written = list((setting.folder / "killed").glob("iter_*.pth"))
    assert all(read(path)[0]["optimizer"] for path in written)
    last = max(int(path.stem.removeprefix("iter_")) for path in written)
    limit = f"train_cfg.max_iters={last + 1}"
    (result, _) = launch(
        setting.args("data_parallel", "killed", "--resume", "--cfg-options", limit), 2
    )
    assert len(result["train/loss"]) == last + 1
    assert not list((setting.folder / "killed").glob("*.part"))


def model_and_batch(setting: Setting, scope: str, config: str) -> tuple[Any, dict[str, Any]]:
    """A model, and the first batch of its training."""
    cfg = Config.fromfile(setting.folder / config)
    init_default_scope(scope)
    model = MODELS.build(cfg.model)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    return model, model.data_preprocessor(next(iter(loader)), training=True)


def test_a_step_in_bfloat16(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AmpOptimWrapper does on a GPU, in autocast: gradients near those of float32."""
    monkeypatch.setenv(VARIABLE, str(setting.toy / "segments"))
    model, batch = model_and_batch(setting, "mmseg", "segmenter.py")
    gradients = []
    for mixed in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss, _ = model.parse_losses(model(**batch, mode="loss"))
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
    assert not torch.equal(*gradients)


def refusal(cfg: Config) -> str:
    with pytest.raises(SetupError) as error:
        check_engine(cfg)
    return str(error.value)


def test_regions_and_bfloat16(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(setting.toy / "instances"))
    cfg = Config.fromfile(setting.folder / "detector.py")
    init_default_scope("mmdet")

    class Run:
        pass

    for place in (
        dict(optim_wrapper=dict(dtype="bfloat16")),
        dict(strategy=dict(model_wrapper=dict(mixed_precision=dict(param_dtype="bfloat16")))),
    ):
        Run.cfg = Config(cfg.to_dict())
        Run.cfg.merge_from_dict(place)
        Run.model = MODELS.build(Run.cfg.model)
        check_dtype(Run)
        for part, kind, exact in (
            ("rpn_head", "RPNHead", "Float32RPNHead"),
            ("roi_head.mask_roi_extractor", "SingleRoIExtractor", "Float32RoIExtractor"),
            ("roi_head.bbox_roi_extractor", "GenericRoIExtractor", "Float32RoIExtractor"),
        ):
            changed = Config(cfg.to_dict())
            changed.merge_from_dict({f"model.{part}.type": kind})
            Run.model = MODELS.build(changed.model)
            with pytest.raises(SetupError, match=f"{kind} rounds boxes .*hiera_dense.{exact}"):
                check_dtype(Run)


def test_a_detectors_step_in_bfloat16(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its losses are near those of float32; the regions that it draws differ, with the scores."""
    monkeypatch.setenv(VARIABLE, str(setting.toy / "instances"))
    model, batch = model_and_batch(setting, "mmdet", "detector.py")
    found = []
    for mixed in (False, True):
        model.zero_grad()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss, parts = model.parse_losses(model(**batch, mode="loss"))
        loss.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        found.append(parts)
    for name, value in found[0].items():
        if "loss" in name:
            assert float(found[1][name]) == pytest.approx(float(value), rel=0.1, abs=0.02), name


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)
def test_a_config_at_scale_needs_processes_and_what_it_trains_with(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hiera_dense.mm.preflight.get_device", lambda: "cuda")
    cfg = Config.fromfile(path)
    assert cfg.runner_type == "FlexibleRunner"
    assert cfg.model.backbone.arch == "huge"
    cfg.launcher = "none"
    assert "needs several processes; expected torchrun -m hiera_dense train" in refusal(cfg)
    cfg.launcher = "slurm"
    cfg.custom_hooks = [dict(type="EMAHook")]
    assert "EMAHook copies whole weights" in refusal(cfg)
    cfg.custom_hooks = []
    check_engine(cfg)
    cfg.optim_wrapper.clip_grad = dict(max_norm=1.0)
    assert "would take the norm of the share" in refusal(cfg)
    cfg.optim_wrapper.clip_grad = dict(type="value", clip_value=1.0)
    cfg.optim_wrapper.constructor = "hiera_dense.LayerDecayOptimWrapperConstructor"
    assert "layer decay tells matrices by their shape" in refusal(cfg)
    cfg.strategy.type = "DeepSpeedStrategy"
    assert "with the strategy 'DeepSpeedStrategy'; expected neither, or" in refusal(cfg)
    cfg.strategy.type = "hiera_dense.FSDPStrategy"
    cfg.pop("runner_type")
    assert "expected neither, or 'FlexibleRunner'" in refusal(cfg)
    monkeypatch.setattr("hiera_dense.mm.preflight.get_device", lambda: "cpu")
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    assert "AmpOptimWrapper needs a GPU" in refusal(cfg)


def test_files_of_each_process_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="state_dict_cfg 'local'; expected 'full', or none"):
        FSDPStrategy(state_dict_cfg="local", work_dir=str(tmp_path))
