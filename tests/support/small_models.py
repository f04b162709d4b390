"""Small models of each kind that can be exported, with random weights."""

import os
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from hiera_dense.data.folders import VARIABLE
from support.common import ROOT
from support.saved import random_model, save
from support.spread import spread_queries
from support.training import DETECTOR, SEGMENTER

DELTA = """
_base_ = '{base}'
dims = [16, 32, 64, 128]
arch = dict(_delete_=True, embed_dim=16, num_heads=1, stages=(1, 1, 1, 1))
resize = dict(type='Resize', scale=(160, 160), keep_ratio=True)
model = dict(backbone=dict(arch=arch), {heads})
"""
FOUR = "anchor_generator=dict(strides=[4, 8, 16, 32])"
ROI = (
    "rpn_head=dict(in_channels=32, feat_channels=32, num_convs=1, {anchors}), "
    "roi_head=dict(bbox_roi_extractor=dict(out_channels=32, featmap_strides={strides}), "
    "mask_roi_extractor=dict(out_channels=32, featmap_strides={strides}), "
    "bbox_head=dict(in_channels=32, fc_out_channels=512), "
    "mask_head=dict(in_channels=32, conv_out_channels=32, num_convs=1)), "
    "test_cfg=dict(rpn=dict(max_per_img=100), rcnn=dict(max_per_img=40))"
)
QUERIES = (
    "in_channels=dims[:3], num_queries=30, num_transformer_feat_level=2, "
    "transformer_decoder=dict(num_layers=3), pixel_decoder=dict(num_outs=2, "
    "encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=dict(num_levels=2))))"
)


class Kind(NamedTuple):
    """A model: the config that it is made from, and the settings that make it small."""

    base: Path
    heads: str
    data: str = "instances"
    part: str | None = None  # the head with queries


KINDS = {
    "upernet": Kind(
        SEGMENTER,
        "decode_head=dict(in_channels=dims, channels=32, pool_scales=(1, 3)), "
        "auxiliary_head=dict(in_channels=dims[2], channels=32)",
        "segments",
    ),
    "mask-rcnn": Kind(
        DETECTOR,
        "neck=dict(in_channels=dims, out_channels=32, num_outs=4), "
        + ROI.format(anchors=FOUR, strides="[4, 8, 16]"),
    ),
    # A cascade, and on the simple pyramid.
    "cascade": Kind(
        DETECTOR,
        "neck=dict(_delete_=True, type='hiera_dense.SimplePyramid', in_channels=128, "
        "out_channels=32, num_outs=4), " + ROI.format(anchors=FOUR, strides="[4, 8, 16, 32]"),
    ),
    # Faster R-CNN, in BGR, padded to one size, which its windows follow; regions from one map.
    "boxes": Kind(
        DETECTOR,
        "neck=dict(in_channels=dims[1:3], out_channels=32, num_outs=2), "
        + ROI.format(anchors="anchor_generator=dict(strides=[8, 16])", strides="[8]"),
    ),
    "dino": Kind(
        ROOT / "configs/dino/dino-4scale_hiera-t_1xb2-200i_coco-folder.py",
        "neck=dict(in_channels=dims[2:3], num_outs=2), num_feature_levels=2, num_queries=30, "
        "test_cfg=dict(max_per_img=40), "
        "encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=dict(num_levels=2))), "
        "decoder=dict(num_layers=2, layer_cfg=dict(cross_attn_cfg=dict(num_levels=2)))",
    ),
    "instances": Kind(
        ROOT / "configs/mask2former/mask2former_hiera-t_1xb2-200i_coco-folder.py",
        f"panoptic_head=dict({QUERIES}), test_cfg=dict(max_per_image=25)",
        part="panoptic_head",
    ),
    "classes": Kind(
        ROOT / "configs/mask2former/mask2former_hiera-t_1xb4-200i_mask-folder-256x256.py",
        f"decode_head=dict({QUERIES})",
        "segments",
        part="decode_head",
    ),
}


def settings(kind: str, toy: Path, folder: Path) -> Config:
    """The config of a model of a kind."""
    base, heads, data, _ = KINDS[kind]
    path = folder / f"{kind}.py"
    path.write_text(DELTA.format(base=base, heads=heads))
    os.environ[VARIABLE] = str(toy / data)
    try:
        cfg = Config.fromfile(path)
    finally:
        del os.environ[VARIABLE]
    model, transforms = cfg.model, cfg.test_dataloader.dataset.pipeline
    transforms[1].scale = (160, 160)
    if kind == "dino":
        model.backbone.out_indices = (2,)
    if KINDS[kind].part:
        model.backbone.out_indices = (0, 1, 2)
    if kind == "cascade":
        model.backbone.out_indices = (3,)
        head = model.roi_head.bbox_head
        stds = ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1])
        model.roi_head.bbox_head = [
            {
                **head,
                "reg_class_agnostic": True,
                "bbox_coder": {**head.bbox_coder, "target_stds": std},
            }
            for std in stds
        ]
        model.roi_head.update(type="CascadeRoIHead", num_stages=2, stage_loss_weights=[1, 0.5])
        model.update(type="CascadeRCNN", train_cfg=None)
    if kind == "boxes":
        model.type = "FasterRCNN"
        model.backbone.update(out_indices=(1, 2), window_spec="auto")
        model.backbone.arch.global_att_blocks = (2,)
        del model.roi_head["mask_head"], model.roi_head["mask_roi_extractor"]
        model.data_preprocessor.update(bgr_to_rgb=False)
        transforms[1].keep_ratio = False
        transforms.insert(2, dict(type="Pad", size=(200, 180), pad_val=dict(img=(1, 2, 3))))
    return cfg


def save_kind(kind: str, toy: Path, folder: Path) -> Path:
    """Write the checkpoint of a kind, with its config inside it."""
    cfg, path, part = settings(kind, toy, folder), folder / f"{kind}.pth", KINDS[kind].part
    model = random_model(cfg, 0.05 if part or kind == "dino" else 0.02).eval()
    if part:
        spread_queries(model, getattr(model, part))
    save(cfg, path, model)
    return path
