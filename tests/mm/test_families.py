"""Of each family of recipes one member trains two iterations and is evaluated, on drawn data.

With a small backbone and small images. Mask R-CNN with an FPN and UperNet are in test_training.py.
"""

from pathlib import Path

import pytest
from support.common import ROOT
from support.training import SHORT, metric_of, scalars

from hiera_dense.cli import train
from hiera_dense.data.folders import VARIABLE

pytestmark = pytest.mark.slow

DELTA = """
_base_ = {base!r}
resize = dict(type="Resize", scale=(96, 96), keep_ratio=True)
train_pipeline = [*_base_.train_pipeline[:2], resize, *_base_.train_pipeline[-2:]]
test_pipeline = [_base_.test_pipeline[0], resize, *_base_.test_pipeline[2:]]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline), **loader)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline), **loader)
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(save_optimizer=False, save_best=None))
arch = dict(_delete_=True, embed_dim=24, num_heads=1, stages=(1, 2, 3, 2))
model = dict(backbone=dict(arch=arch), {parts})
"""
REGIONS = """
model.update(
    train_cfg=dict(rpn_proposal=dict(max_per_img=50)), test_cfg=dict(rpn=dict(max_per_img=50)))
"""
HIERADET = """
model["backbone"].update(
    window_spec=(8, 4, 14, 7), global_att_blocks=(4,), rel_pos=(24, 24),
    pos_embed=dict(resize="tile", global_size=(7, 7)))
"""
DIMS = [24, 48, 96, 192]
MEMBERS = {
    "cascade_rcnn/cascade-mask-rcnn_hiera-t_fpn_1xb2-200i_coco-folder": (
        f"neck=dict(in_channels={DIMS})",
        REGIONS,
    ),
    "simple_pyramid/mask-rcnn_hiera-t_simple-pyramid_1xb2-200i_coco-folder": (
        f"neck=dict(in_channels={DIMS[-1]})",
        REGIONS,
    ),
    "mask_rcnn/mask-rcnn_hiera-t_fpn_1xb2-200i_coco-folder": (
        f"neck=dict(in_channels={DIMS})",
        REGIONS + HIERADET,
    ),
    "dino/dino-4scale_hiera-t_1xb2-200i_coco-folder": (
        f"num_queries=100, neck=dict(in_channels={DIMS[1:]})",
        "",
    ),
    "mask2former/mask2former_hiera-t_1xb2-200i_coco-folder": (
        f"panoptic_head=dict(in_channels={DIMS})",
        "",
    ),
    "mask2former/mask2former_hiera-t_1xb4-200i_mask-folder-256x256": (
        f"decode_head=dict(in_channels={DIMS})",
        "",
    ),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_trains_and_is_evaluated(
    name: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, more = MEMBERS[name]
    config = tmp_path / "config.py"
    base = str(ROOT / "configs" / f"{name}.py")
    config.write_text(DELTA.format(base=base, parts=parts) + more)
    host = "mmseg" if "mask-folder" in name else "mmdet"
    data = toy / {"mmdet": "instances", "mmseg": "segments"}[host]
    monkeypatch.setenv(VARIABLE, "")
    args = ["train.py", config, "--data", data, "--work-dir", tmp_path, "--cfg-options", *SHORT]
    args.append(f"visualizer.name={tmp_path.name}")  # or it would be that of the test before
    monkeypatch.setattr("sys.argv", list(map(str, args)))
    train.main()
    logged = scalars(tmp_path)
    losses = [entry["loss"] for entry in logged if "loss" in entry]
    assert len(losses) == 2
    assert all(0 < loss < float("inf") for loss in losses)
    assert 0 <= logged[-1]["coco/bbox_mAP" if "dino" in name else metric_of(host)] <= 100
    assert (tmp_path / "iter_2.pth").exists()
