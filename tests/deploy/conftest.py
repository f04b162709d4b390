"""Checkpoints of small models of each kind, with random weights, and their exported files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from support.saved import save
from support.training import DELTA, DETECTOR, HEADS, SEGMENTER, run_in_process

from hiera_dense.cli import export
from hiera_dense.data.folders import VARIABLE


def settings(kind: str, toy: Path, folder: Path) -> Config:
    """The config of a model of a kind."""
    host = "mmseg" if kind == "upernet" else "mmdet"
    path = folder / f"{kind}.py"
    base = SEGMENTER if host == "mmseg" else DETECTOR
    path.write_text(DELTA.format(base=base, heads=HEADS[host]))
    os.environ[VARIABLE] = str(toy / ("segments" if host == "mmseg" else "instances"))
    try:
        cfg = Config.fromfile(path)
    finally:
        del os.environ[VARIABLE]
    model = cfg.model
    if kind == "cascade":
        head = model.roi_head.bbox_head
        stds = ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
        model.roi_head.bbox_head = [
            {
                **head,
                "reg_class_agnostic": True,
                "bbox_coder": {**head.bbox_coder, "target_stds": std},
            }
            for std in stds
        ]
        model.roi_head.update(
            type="CascadeRoIHead", num_stages=3, stage_loss_weights=[1, 0.5, 0.25]
        )
        model.update(type="CascadeRCNN", train_cfg=None)
    if kind == "simple-pyramid":
        model.backbone.out_indices = (3,)
        model.neck = dict(
            type="hiera_dense.SimplePyramid", in_channels=192, out_channels=128, num_outs=5
        )
    if kind == "boxes":
        model.type = "FasterRCNN"
        del model.roi_head["mask_head"], model.roi_head["mask_roi_extractor"]
        model.data_preprocessor.update(bgr_to_rgb=False)
        transforms = cfg.test_dataloader.dataset.pipeline
        transforms[1].keep_ratio = False
        transforms.insert(2, dict(type="Pad", size=(200, 180), pad_val=dict(img=(1, 2, 3))))
    return cfg


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> Callable[[str], Path]:
    """The checkpoint of a kind, with its config inside it."""
    folder = tmp_path_factory.mktemp("whole")
    paths: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in paths:
            paths[kind] = folder / f"{kind}.pth"
            save(settings(kind, toy, folder), paths[kind])
        return paths[kind]

    return of


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[[str], Path]
) -> Callable[[str], Path]:
    """The file of a kind, as the command writes it."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    if torch.__version__ < "2.9":
        pytest.skip("torch 2.9 or newer exports graphs for any size")
    folder = tmp_path_factory.mktemp("exported")

    def of(kind: str) -> Path:
        path = folder / f"{kind}.onnx"
        if not path.exists():
            with pytest.MonkeyPatch.context() as patch:
                run_in_process(patch, export.main, checkpoint(kind), path)
        return path

    return of
