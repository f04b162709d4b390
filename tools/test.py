"""Evaluate a checkpoint of a detector, a segmenter, a classifier or a masked autoencoder."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import torch
from guard import refuse_code
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from options import load_config, make_parser, start_processes

from hiera_dense.detections import decode
from hiera_dense.errors import CheckpointError

SHOWN = 0.3  # the lowest score that the hosts draw


class SavePictures(Hook):  # type: ignore[misc]  # mmengine ships no types
    """Draws the truth (left) and the prediction (right) on each test image.

    Of an image in SPLIT/NAME.* the picture is FOLDER/SPLIT/NAME.png.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[Any]
    ) -> None:
        for sample in outputs:
            image = mmcv.imread(sample.img_path, channel_order="rgb")
            path = Path(sample.img_path)
            out_file = self.folder / path.parent.name / f"{path.stem}.png"
            _decode_masks(sample)
            runner.visualizer.add_datasample(
                path.stem, image, data_sample=sample, out_file=str(out_file)
            )


def _decode_masks(sample: Any) -> None:
    """Leave what is drawn, with masks as tensors, where they are run-length encoded."""
    found = sample.get("pred_instances", {})
    if isinstance(found.get("masks"), list):
        found = found[found.scores > SHOWN]
        found.masks = torch.from_numpy(decode(found.masks, sample.ori_shape))
        sample.pred_instances = found


def augment(cfg: Config) -> None:
    """Set up test-time augmentation, with the `tta_model` and `tta_pipeline` of a config.

    Raises:
        SystemExit: With a message, where the config has none.
    """
    if missing := [key for key in ("tta_model", "tta_pipeline") if key not in cfg]:
        sys.exit(
            f"--tta: {cfg.filename} has no {' and no '.join(missing)}; expected both "
            "(docs/own-data.md has them)"
        )
    cfg.model = cfg.tta_model | dict(module=cfg.model)
    dataset = cfg.test_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline


def main() -> None:
    parser = make_parser(__doc__)
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
    if args.show_dir:
        runner.register_hook(SavePictures(args.show_dir))
    try:
        runner.test()
    except (CheckpointError, FileNotFoundError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
