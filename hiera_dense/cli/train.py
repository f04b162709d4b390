"""Train a detector, a segmenter, a classifier or a masked autoencoder from a config."""

import argparse
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

import hiera_dense.registry  # noqa: F401  # first: it says what to do without mmengine

# isort: split
from mmengine.config import Config

from hiera_dense.cli.options import default_work_dir, run_parser
from hiera_dense.cli.parser import ends_with_a_message
from hiera_dense.cli.start import add_start_options, load_start, tell_start, use_amp
from hiera_dense.data.check import check, tell
from hiera_dense.data.decode import reader_of
from hiera_dense.mm.building import building
from hiera_dense.mm.config_checks import check_config
from hiera_dense.mm.finite import StopAtNaN
from hiera_dense.mm.launch import build_runner, is_first_process, start_processes
from hiera_dense.mm.preflight import check_engine, check_training
from hiera_dense.mm.resume import checkpoint_folder, resume_from
from hiera_dense.mm.safe_loading import refuse_code
from hiera_dense.mm.signals import Signals, ends_with_a_way_on, only_training_in
from hiera_dense.mm.start_weights import try_weights
from hiera_dense.mm.whole_models import WholeModel
from hiera_dense.report.after_training import report_after_training


def check_own_data(cfg: Config) -> None:
    """Every process looks, so that none waits for another; one decodes images, and tells."""
    is_first = is_first_process()
    with nullcontext() if is_first else redirect_stdout(None):
        reader = reader_of(cfg.train_dataloader.dataset)
        tell(cfg.own_data, check(cfg.own_data, "some" if is_first else "none", reader))


@ends_with_a_message
@building()
def main() -> None:
    parser = run_parser(__doc__, "mask-rcnn-own-data --data data/my-cells")
    add_start_options(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from a checkpoint; without a value, from the last whole one in the work dir, "
        "or from the start where there is none",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision (needs a GPU)")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate from the batch size of the config to that of this run",
    )
    parser.add_argument(
        "--skip-data-check", action="store_true", help="do not look at each file of --data first"
    )
    parser.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        help="at the end write a page about the training, as `hiera-dense report` does (default: "
        "for recipes named *-own-data)",
    )
    args = parser.parse_args()
    run = Path(args.work_dir or default_work_dir(args.config))
    if args.resume not in (None, "auto"):
        run = Path(args.resume).parent
    cfg = load_start(args, run if args.resume else None)
    if args.amp:
        use_amp(cfg)
    if args.auto_scale_lr:
        if "auto_scale_lr" not in cfg:
            parser.error(f"--auto-scale-lr: {args.config} has no auto_scale_lr.base_batch_size")
        cfg.auto_scale_lr.enable = True
    check_config(cfg, "train")
    check_engine(cfg)
    refuse_code()
    work_dir = Path(cfg.work_dir)
    with (
        only_training_in(work_dir) if is_first_process() else nullcontext(),
        ends_with_a_way_on(checkpoint_folder(cfg), sys.argv) as signals,
    ):
        _train(cfg, args, signals)
    if is_first_process() and ("choices" in cfg if args.report is None else args.report):
        print("writing the report ...", flush=True)
        print(report_after_training(work_dir))


def _train(cfg: Config, args: argparse.Namespace, signals: Signals) -> None:
    if args.resume:
        resume_from(args.resume, cfg)
    if is_first_process():
        report = None
        if not cfg.get("resume") and (args.weights or "choices" in cfg):
            report = try_weights(cfg)
        tell_start(cfg, report)
    if "own_data" in cfg and not args.skip_data_check:
        check_own_data(cfg)
    start_processes(cfg)
    runner = build_runner(cfg)
    check_training(runner)
    runner.register_hook(WholeModel(runner, in_part=not args.resume))
    if not any(isinstance(hook, StopAtNaN) for hook in runner.hooks):
        runner.register_hook(StopAtNaN())
    runner.register_hook(signals)
    runner.train()
