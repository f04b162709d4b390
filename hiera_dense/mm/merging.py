"""Detections of one image that come from several views: patches of it, or augmentations.

Masks are tensors of shape (n, H, W), or of large images run-length encoded, as pycocotools has it.
"""

from typing import Any

import numpy as np
from torch import Tensor

from hiera_dense.data.rle import counts_of, encode_counts

Mask = dict[str, Any]  # `size` (H, W) and `counts`


def encode_at(mask: np.ndarray[Any, Any], offset: tuple[int, int], size: tuple[int, int]) -> Mask:
    """Encode the mask of a patch as one of the whole image, which is never made.

    Args:
        mask: Of the patch, bool, shape (h, w).
        offset: Place of the patch in the image, (y, x), px.
        size: Of the image, (H, W), px.
    """
    counts = encode_counts(counts_of(mask, offset, size))
    return dict(size=[*size], counts=counts.encode())


def decode(masks: list[Mask], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Masks of an image of size (H, W), bool, shape (n, H, W)."""
    from pycocotools import mask as coco_mask

    decoded = [coco_mask.decode(mask).astype(bool) for mask in masks]
    return np.stack(decoded) if decoded else np.zeros((0, *size), bool)


def flip(masks: Tensor | list[Mask], direction: str) -> Tensor | list[Mask]:
    """Turn masks over, `horizontal`, `vertical` or `diagonal`: both."""
    axes = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-1, -2)}[direction]
    if isinstance(masks, Tensor):
        return masks.flip(axes)
    turned = []
    for mask in masks:
        size = tuple(mask["size"])
        turned.append(encode_at(np.flip(decode([mask], size)[0], axes), (0, 0), size))
    return turned


def keep_best(found: Any, nms: dict[str, Any], max_per_img: int | None) -> Any:
    """Merge what was found more than once, in each class by itself.

    Args:
        found: InstanceData of all views, in the coordinates of the image.
        nms: As in mmdet, `dict(type='nms', iou_threshold=0.5)`.
        max_per_img: Keep the best of that many. None: all.
    """
    from mmcv.ops import batched_nms

    if not len(found):
        return found
    boxes, places = batched_nms(found.bboxes, found.scores, found.labels, nms)
    kept = found[places[:max_per_img]]
    kept.scores = boxes[:max_per_img, -1]  # soft NMS lowers them
    return kept
