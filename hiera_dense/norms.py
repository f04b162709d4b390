"""Norm layers that configs ask for by name."""

from timm.layers import LayerNorm2d

from hiera_dense.registry import MODELS

# LayerNorm over the channels of (B, C, H, W) maps, as in the RoI heads of ViTDet's recipe: neither
# mmcv nor mmdet register one.
MODELS.register_module(name="LN2d", module=LayerNorm2d)
