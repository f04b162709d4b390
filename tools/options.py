"""What train.py and test.py have in common: their options, and the config with these applied."""

import argparse
import os
import sys
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict, DictAction

from hiera_dense.annotations import DataError
from hiera_dense.folders import VARIABLE


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of both tools."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--work-dir",
        help="folder for logs and checkpoints (default: work_dirs/CONFIG, for test.py test/ beside "
        "the checkpoint)",
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="your own data, for a config that reads them from a folder (README, 'Your own data'); "
        "needed once: evaluating and resuming find it in the folder of the run",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override settings of the config, e.g. train_dataloader.batch_size=4",
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace, run: Path | None = None) -> Config:
    """The config file with the options of the command line applied.

    Args:
        args: From `make_parser`.
        run: The folder of the run that goes on or is evaluated; mmengine kept its config there.
            Own data are those of `--data`, else of that run, else of the environment.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    if args.data:
        os.environ[VARIABLE] = args.data
    try:
        record = _own_data_of(run, args.config)
        if record and not args.data:
            os.environ[VARIABLE] = record.root
        cfg = Config.fromfile(args.config)
    except DataError as error:
        sys.exit(f"{args.config}: {error}")
    _check_own_data(args, cfg.get("own_data"), record)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or default_work_dir(args.config)
    return cfg


def default_work_dir(config: str) -> str:
    """Where a run of a config file goes."""
    return str(Path("work_dirs") / Path(config).stem)


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


def _own_data_of(run: Path | None, config: str) -> ConfigDict | None:
    """The folder that a run was trained on, if it was trained on one."""
    record = run / Path(config).name if run else None
    if record is None or not record.is_file() or record.samefile(config):
        return None
    return Config.fromfile(record).get("own_data")


def _check_own_data(
    args: argparse.Namespace, own: ConfigDict | None, record: ConfigDict | None
) -> None:
    if own is None:
        if args.data:
            sys.exit(f"--data {args.data}: {args.config} does not read a folder of one's own")
        return
    if args.data and own.root != str(Path(args.data).expanduser().resolve()):
        sys.exit(
            f"--data {args.data}: {args.config} is the record of a run on {own.root}; expected the "
            "config that it was trained with"
        )
    if record and tuple(record.classes) != tuple(own.classes):
        sys.exit(
            f"{own.root} has the classes {', '.join(own.classes)}; the run was trained on "
            f"{', '.join(record.classes)} from {record.root}"
        )
    print(
        f"data: {own.root}" + (f", not {record.root}" if record and record.root != own.root else "")
    )
