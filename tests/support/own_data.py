"""The recipes for own data, and configs of them that train fast."""

from pathlib import Path

from support.common import ROOT

DETECTOR = """
neck=dict(in_channels=dims, out_channels=16),
rpn_head=dict(in_channels=16, feat_channels=16),
train_cfg=dict(rpn_proposal=dict(max_per_img=50), rcnn=dict(sampler=dict(num=16))),
test_cfg=dict(rpn=dict(max_per_img=50)),
"""
BOX = "bbox_roi_extractor=dict(out_channels=16), bbox_head=dict(in_channels=16, fc_out_channels=16)"
MASK = "mask_roi_extractor=dict(out_channels=16), mask_head=dict(in_channels=16)"
PARTS = {
    "mask-rcnn": f"{DETECTOR} roi_head=dict({BOX}, {MASK})",
    "faster-rcnn": f"{DETECTOR} roi_head=dict({BOX})",
    "upernet": """
decode_head=dict(in_channels=dims, channels=64),
auxiliary_head=dict(in_channels=96, channels=64)
""",
}
# A validation after each epoch; the first is the best, since none is better by so much.
DELTA = """
_base_ = {base!r}
dims = [24, 48, 96, 192]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = loader
val_dataloader = loader
test_dataloader = loader
arch = dict(_delete_=True, embed_dim=24, num_heads=1, stages=(1, 2, 3, 2))
model = dict(backbone=dict(arch=arch), {parts})
train_cfg = dict(val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
average, stop = _base_.custom_hooks
custom_hooks = [average, dict(stop, patience=2, begin=0., min_delta=1000.)]
randomness = dict(seed=0)
"""
FOLDERS = {"mask-rcnn": "instances", "faster-rcnn": "instances", "upernet": "segments"}
GIVEN = ("--weights", "none", "--size", "64", "--batch", "4", "--no-report")


def recipe(name: str) -> Path:
    return ROOT / "configs/own_data" / f"{name}-own-data.py"


def small(folder: Path, name: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(DELTA.format(base=str(recipe(name)), parts=PARTS[name]))
    return path
