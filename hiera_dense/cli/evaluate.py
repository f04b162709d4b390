"""Evaluate a checkpoint of a detector, a segmenter, a classifier or a masked autoencoder."""

from pathlib import Path

import hiera_dense.registry  # noqa: F401  # first: it says what to do without mmengine

# isort: split
from mmengine.runner import Runner

from hiera_dense.cli.options import load_config, run_parser
from hiera_dense.cli.parser import ends_with_a_message
from hiera_dense.mm.building import building
from hiera_dense.mm.config_checks import check_config
from hiera_dense.mm.launch import start_processes
from hiera_dense.mm.pictures import SavePictures
from hiera_dense.mm.preflight import check_evaluation
from hiera_dense.mm.safe_loading import refuse_code
from hiera_dense.mm.tta import augment


@ends_with_a_message
@building()
def main() -> None:
    parser = run_parser(
        __doc__,
        "upernet_hiera-t_1xb4-200i_mask-folder-256x256 work_dirs/run/iter_200.pth --show-dir seen",
    )
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="keep the predictions: FILE.pkl (detection) or a folder of index masks (segmentation)",
    )
    parser.add_argument("--show-dir", help="folder for pictures of the truth beside the prediction")
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation, with tta_model and tta_pipeline of the config",
    )
    args = parser.parse_args()
    run = Path(args.checkpoint).parent
    # Not into the folder of the run: mmengine would write this config over that of the training.
    args.work_dir = args.work_dir or str(run / "test")
    cfg = load_config(args, run)
    check_config(cfg, "test")
    cfg.load_from = args.checkpoint
    if (args.out or args.show_dir) and cfg.default_scope not in ("mmdet", "mmseg"):
        parser.error("--out and --show-dir are for detectors and segmenters")
    evaluators = cfg.test_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    if args.out and cfg.default_scope == "mmdet":
        if not args.out.endswith((".pkl", ".pickle")):
            parser.error(f"--out {args.out}: expected a .pkl file for a detector")
        # mmdet's own encodes masks, which a sliding detector has done.
        kind = "DumpResults" if "slide" in cfg.model else "DumpDetResults"
        evaluators.append(dict(type=kind, out_file_path=args.out))
    elif args.out:
        evaluators[0]["output_dir"] = args.out
    cfg.test_evaluator = evaluators
    if args.tta:
        augment(cfg)
    refuse_code()
    start_processes(cfg)
    runner = Runner.from_cfg(cfg)
    check_evaluation(runner)
    if args.show_dir:
        runner.register_hook(SavePictures(args.show_dir))
    runner.test()
