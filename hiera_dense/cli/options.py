"""What `train` and `evaluate` have in common: their options, and the config with these applied."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from torch.distributed import is_torchelastic_launched

from hiera_dense.cli.parser import make_parser
from hiera_dense.data.choices import Given, given
from hiera_dense.data.folders import VARIABLE
from hiera_dense.errors import DataError, SetupError
from hiera_dense.mm.config_file import Settings, config_path, override, read_config
from hiera_dense.mm.record import OwnData, Start, own_data_of, start_of


def run_parser(description: str | None, example: str) -> argparse.ArgumentParser:
    """A parser with the options of both commands."""
    parser = make_parser(description, example)
    parser.add_argument(
        "config",
        action=_ConfigFile,
        help="config file, or the name of a recipe that `hiera-dense recipes` lists",
    )
    parser.add_argument(
        "--work-dir",
        help="folder for logs and checkpoints (default: work_dirs/CONFIG; for evaluate: test/ next "
        "to the checkpoint)",
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="your own data, for a config that reads them from a folder (docs/own-data.md); "
        "needed once: evaluating and resuming find it in the folder of the run",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=Settings,
        metavar="KEY=VALUE",
        help="override settings of the config, e.g. train_dataloader.batch_size=4",
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        help="what started the processes (default: pytorch for those of torchrun, else none)",
    )
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(
    args: argparse.Namespace,
    run: Path | None = None,
    what: Given | None = None,
    prepare: Callable[[Config], None] | None = None,
) -> Config:
    """The config file, or recipe, with the options of the command line applied.

    Args:
        args: From `run_parser`.
        run: The folder of the run that goes on or is evaluated; mmengine kept its config there.
            Own data are those of `--data`, else of that run, else of the environment.
        what: What a recipe for own data does not choose itself. Default: what that run began with.
        prepare: Changes the config before `--cfg-options` does.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    if args.data:
        os.environ[VARIABLE] = args.data
    try:
        record = _own_data_of(run, args.config)
        if record and not args.data:
            os.environ[VARIABLE] = record.root
        if what is None:
            start = start_in(run, args.config)
            what = Given(kept=start.choices) if start else Given()
        with given(what):
            cfg = read_config(args.config)
    except DataError as error:
        raise DataError(f"{args.config}: {error}") from None
    _check_own_data(args, cfg.get("own_data"), record)
    cfg.launcher = args.launcher or ("pytorch" if is_torchelastic_launched() else "none")
    if prepare:
        prepare(cfg)
    if args.cfg_options:
        override(cfg, args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or default_work_dir(args.config)
    return cfg


def default_work_dir(config: str) -> str:
    """Where a run of a config file goes."""
    return str(Path("work_dirs") / Path(config).stem)


class _ConfigFile(argparse.Action):
    """Finds a config file, which may be called by the name of a recipe."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, config_path(values))


def start_in(run: Path | None, config: str) -> Start | None:
    """What a run of a recipe for own data began with, if there is such a run."""
    record = _record_in(run, config)
    return start_of(record) if record else None


def _own_data_of(run: Path | None, config: str) -> OwnData | None:
    """The folder that a run was trained on, if it was trained on one."""
    record = _record_in(run, config)
    return own_data_of(record) if record else None


def _record_in(run: Path | None, config: str) -> Path | None:
    """The config that mmengine kept of a run, if it is another file than the one that is read."""
    record = run / Path(config).name if run else None
    if record is None or not record.is_file() or record.samefile(config):
        return None
    return record


def _check_own_data(
    args: argparse.Namespace, own: ConfigDict | None, record: OwnData | None
) -> None:
    if own is None:
        if args.data:
            raise SetupError(f"--data {args.data}: {args.config} does not support --data")
        return
    if args.data and own.root != str(Path(args.data).expanduser().resolve()):
        raise SetupError(
            f"--data {args.data}: {args.config} is the record of a run on {own.root}; expected the "
            "config that it was trained with"
        )
    if record and record.classes != tuple(own.classes):
        raise SetupError(
            f"{own.root} has the classes {', '.join(own.classes)}; the run was trained on "
            f"{', '.join(record.classes)} from {record.root}"
        )
    print(
        f"data: {own.root}" + (f", not {record.root}" if record and record.root != own.root else "")
    )
