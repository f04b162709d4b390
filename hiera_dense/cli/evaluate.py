"""Evaluate a checkpoint of a detector, a segmenter, a classifier or a masked autoencoder."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import hiera_dense.registry  # noqa: F401  # first: it says what to do without mmengine

# isort: split
from mmengine.config import Config
from mmengine.runner import Runner

from hiera_dense.cli.options import load_config, run_parser
from hiera_dense.cli.parser import ends_with_a_message
from hiera_dense.mm.building import building
from hiera_dense.mm.coco_results import keep_coco_results, leave_boxes_out
from hiera_dense.mm.config_checks import check_config
from hiera_dense.mm.launch import is_first_process, start_processes
from hiera_dense.mm.pictures import SavePictures
from hiera_dense.mm.preflight import check_evaluation
from hiera_dense.mm.safe_loading import refuse_code
from hiera_dense.mm.tta import augment
from hiera_dense.mm.whole_models import WholeModel
from hiera_dense.weights.download import understand
from hiera_dense.writing import whole_file

PICKLES = (".pkl", ".pickle")


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
        help="keep the predictions. Detection: FILE.json for COCO's results, FILE.bbox.json and "
        "FILE.segm.json, or FILE.pkl for mmdet's. Segmentation: a folder of index masks",
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
    if args.out:
        is_file = args.out.endswith((".json", *PICKLES))
        if cfg.default_scope == "mmdet" and not is_file:
            parser.error(f"--out {args.out}: expected a .json or .pkl file for a detector")
        if cfg.default_scope == "mmseg" and is_file:
            parser.error(f"--out {args.out}: expected a folder for a segmenter")
    if args.tta:
        augment(cfg)
    if "://" not in args.checkpoint:
        understand(args.checkpoint)  # before a model is built for nothing
    refuse_code()
    start_processes(cfg)
    with _keeps_predictions(cfg, args.out):
        runner = Runner.from_cfg(cfg)
        check_evaluation(runner)
        runner.register_hook(WholeModel(runner))
        if args.show_dir:
            runner.register_hook(SavePictures(args.show_dir))
        runner.test()


@contextmanager
def _keeps_predictions(cfg: Config, out: str | None) -> Iterator[None]:
    """Let an evaluation also write its predictions; files are whole or not there."""
    evaluators = cfg.test_evaluator
    cfg.test_evaluator = evaluators if isinstance(evaluators, list) else [evaluators]
    if out is None:
        yield
        return
    if cfg.default_scope == "mmseg":
        cfg.test_evaluator[0]["output_dir"] = out
        yield
        return
    path = Path(out)
    with whole_file(path) if is_first_process() else nullcontext(path) as part:
        if path.suffix == ".json":
            keep_coco_results(cfg.test_evaluator, part)
            yield
            if is_first_process():
                leave_boxes_out(part)
        else:
            # mmdet's own encodes masks, which a sliding detector has done.
            is_sliding = "slide" in cfg.model.get("module", cfg.model)
            kind = "DumpResults" if is_sliding else "DumpDetResults"
            cfg.test_evaluator.append(dict(type=kind, out_file_path=str(part)))
            yield
