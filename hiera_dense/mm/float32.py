"""Parts of two-stage detectors that keep boxes exact where a training computes in half precision.

mmdet's RPN makes anchors in the dtype of its scores, and RoIs get that of the maps. At 1024 px this
rounds them to half a pixel in float16, and to 4 pixels in bfloat16, for which mmcv has neither NMS
nor RoIAlign. These parts are mmdet's own in float32; under autocast, boxes stay in it.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from hiera_dense.registry import MODELS  # isort: split

import torch
from torch import Tensor

# mmdet's names of what has a counterpart here.
EXACT = {"RPNHead": "Float32RPNHead", "SingleRoIExtractor": "Float32RoIExtractor"}


@MODELS.register_module(name="Float32RPNHead")
def float32_rpn_head(**kwargs: Any) -> Any:
    """mmdet's `RPNHead`; its scores and deltas are float32, and so are its anchors and proposals.

    Args:
        **kwargs: mmdet's.
    """
    return _classes()["RPNHead"](**kwargs)


@MODELS.register_module(name="Float32RoIExtractor")
def float32_roi_extractor(**kwargs: Any) -> Any:
    """mmdet's `SingleRoIExtractor`; pools in float32, and returns the dtype of the maps.

    Under autocast it needs memory for float32 copies of the maps.

    Args:
        **kwargs: mmdet's.
    """
    return _classes()["SingleRoIExtractor"](**kwargs)


@cache
def _classes() -> dict[str, Any]:
    # Only configs of mmdet name these, and mmdet may be missing.
    from mmdet.models.dense_heads import RPNHead
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

    class Float32RPNHead(RPNHead):
        """See `float32_rpn_head`."""

        def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
            scores, deltas = super().forward_single(x)
            return scores.float(), deltas.float()

    class Float32RoIExtractor(SingleRoIExtractor):
        """See `float32_roi_extractor`."""

        def forward(
            self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None
        ) -> Tensor:
            with torch.autocast(rois.device.type, enabled=False):
                maps = tuple(each.float() for each in feats)
                pooled: Tensor = super().forward(maps, rois.float(), roi_scale_factor)
                return pooled.type_as(feats[0])

    return {"RPNHead": Float32RPNHead, "SingleRoIExtractor": Float32RoIExtractor}
