"""Evaluate a checkpoint of a detector or a segmenter."""

from pathlib import Path

from mmengine.runner import Runner
from options import load_config, make_parser


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="keep the predictions: FILE.pkl (detection) or a folder of index masks (segmentation)",
    )
    parser.add_argument("--show-dir", help="folder for pictures of the truth beside the prediction")
    args = parser.parse_args()
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    if args.show_dir:
        folder = str(Path(args.show_dir).resolve())
        cfg.default_hooks.visualization.update(draw=True, test_out_dir=folder)
    if args.out and cfg.default_scope == "mmdet":
        if not args.out.endswith((".pkl", ".pickle")):
            parser.error(f"--out {args.out}: expected a .pkl file for a detector")
        dump = dict(type="DumpDetResults", out_file_path=args.out)
        cfg.test_evaluator = [cfg.test_evaluator, dump]
    elif args.out:
        cfg.test_evaluator.update(output_dir=args.out, keep_results=True)
    Runner.from_cfg(cfg).test()


if __name__ == "__main__":
    main()
