"""From a config to a runner, in one process or in several."""

import os
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner


def build_runner(cfg: Config) -> Any:
    """mmengine's runner, or the one that a config names in `runner_type`, with a model."""
    if "runner_type" not in cfg:
        return Runner.from_cfg(cfg)
    runner = RUNNERS.build(cfg)
    if isinstance(runner.model, dict):  # as it leaves it until it trains
        runner.model = runner.strategy.build_model(runner.model)
    return runner


def model_of(runner: Any) -> Any:
    """The model itself, also where it trains in several processes or is augmented in tests."""
    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def is_first_process() -> bool:
    """Whether this is the first, or only, process; before they have found each other."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def start_processes(cfg: Config) -> None:
    """Let torchrun's processes find each other on a CPU; mmengine does it for GPUs only."""
    if cfg.launcher != "pytorch" or torch.cuda.is_available():
        return
    torch.distributed.init_process_group("gloo")
    if "strategy" in cfg:
        _shard_on_a_cpu(cfg.strategy)
        return
    cfg.model_wrapper_cfg = dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
        device_ids=None,
    ) | cfg.get("model_wrapper_cfg", {})


def _shard_on_a_cpu(strategy: ConfigDict) -> None:
    if not strategy.type.endswith("FSDPStrategy"):
        return
    strategy.setdefault("model_wrapper", ConfigDict()).device_id = "cpu"
    # mmengine asks for what is gathered to be moved to the CPU; of what is there torch would hand
    # out its own memory, and free it.
    strategy.state_dict_cfg = dict(
        state_dict_type="FULL_STATE_DICT",
        state_dict_config=dict(type="FullStateDictConfig", rank0_only=True),
        optim_state_dict_config=dict(type="FullOptimStateDictConfig", rank0_only=True),
    )
