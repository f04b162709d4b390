"""Any detector of mmdet on images that are too large for it: patch by patch.

What mmseg's segmenters do with `test_cfg=dict(mode='slide', ...)`. Where patches overlap, an object
is found more than once: a piece of it gives way to a larger box that covers it, and NMS does the
rest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor

from hiera_dense.registry import MODELS  # isort: split

from mmengine.structures import InstanceData

from hiera_dense.errors import SetupError
from hiera_dense.mm.merging import encode_at, keep_best

MARGIN = 4  # px of the input, a token: a box that ends so near to a border is cut by it
COVERED = 0.7  # share of a piece that lies in a larger box


@dataclass(frozen=True)
class Slide:
    """How an image is cut.

    Args:
        crop_size: Height and width of a patch, px, as in mmseg.
        stride: From one patch to the next, px. The overlap is `crop_size - stride`; it must exceed
            the size of objects by 8 px (twice `MARGIN`), so that some patch has each object whole
            and clear of its borders.
        nms: Merges the detections of a class, over all patches.
        max_per_img: Detections to keep of the whole image. None: all.
        batch_size: Patches that go through the detector together.

    Raises:
        SetupError: A size or stride is not two positive numbers, or patches leave gaps.
    """

    crop_size: tuple[int, int]
    stride: tuple[int, int]
    nms: Mapping[str, Any] = field(default_factory=lambda: dict(type="nms", iou_threshold=0.5))
    max_per_img: int | None = None
    batch_size: int = 1

    def __post_init__(self) -> None:
        pairs = (self.crop_size, self.stride)
        if any(len(pair) != 2 or min(pair) < 1 for pair in pairs) or self.batch_size < 1:
            raise SetupError(f"{self}; expected (height, width), and a batch of 1 or more")
        if any(step > size for size, step in zip(*pairs, strict=True)):
            raise SetupError(f"{self}: gaps between patches; expected no stride above the crop")


@dataclass(frozen=True)
class Side:
    """One side of a patch: where it lies along a side of the image.

    `start` and `length` in the input, `ori_start` and `ori_length` in the original image, px, of
    which the image has `inside` and `whole`.
    """

    start: int
    length: int
    inside: int
    ori_start: int
    ori_length: int
    whole: int

    def cuts(self, begin: Tensor, end: Tensor) -> Tensor:
        """Which boxes end at a border that is none of the image; begin and end in the patch."""
        margin = MARGIN * self.ori_length / self.length
        at_begin = (begin < margin) & (self.ori_start > 0)
        last = self.ori_start + self.ori_length >= self.whole
        return at_begin if last else at_begin | (end > self.ori_length - margin)


def cut_side(
    length: int, padded: int, whole: int, scale: float, crop: int, stride: int
) -> list[Side]:
    """Cut one side of an image.

    The last patch is moved inwards, so that all are of one length; a side no longer than a patch is
    one, with its padding.

    Args:
        length: Of the side in the input, px.
        padded: The same with its padding.
        whole: The same in the original image.
        scale: From the original to the input.
        crop: Length of a patch in the input.
        stride: From one to the next.
    """
    crop = min(crop, padded)
    if length <= crop:
        return [Side(0, crop, length, 0, whole, whole)]
    ori_crop = min(round(crop / scale), whole)
    starts = (min(start, length - crop) for start in range(0, length - crop + stride, stride))
    return [
        Side(start, crop, crop, min(round(start / scale), whole - ori_crop), ori_crop, whole)
        for start in starts
    ]


class Sliding:
    """What makes a detector slide; the class of the detector comes after it."""

    def __init__(self, slide: Slide, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slide = slide

    def predict(self, batch_inputs: Tensor, batch_data_samples: list[Any]) -> list[Any]:
        """Detections in the original images, masks run-length encoded.

        Args:
            batch_inputs: Normalised images with padding, shape (B, C, H, W).
            batch_data_samples: Of these, with what mmdet's pipelines tell of the images.

        Raises:
            ValueError: The detector predicts no boxes.
        """
        for image, sample in zip(batch_inputs, batch_data_samples, strict=True):
            sample.pred_instances = self._detect(image, sample.metainfo)
        return batch_data_samples

    def _detect(self, image: Tensor, metainfo: dict[str, Any]) -> Any:
        patches = self._cut(image, metainfo)
        found, pieces = [], []
        for first in range(0, len(patches), self.slide.batch_size):
            batch = patches[first : first + self.slide.batch_size]
            for patch, result in zip(batch, self._run(image, metainfo, batch), strict=True):
                pieces.append(_are_cut(result, patch))
                found.append(_place(result, patch))
        if len(patches) == 1:
            return found[0]
        every, piece = InstanceData.cat(found), torch.cat(pieces)
        every = every[~_covered(every, piece)]
        return keep_best(every, dict(self.slide.nms), self.slide.max_per_img)

    def _cut(self, image: Tensor, metainfo: dict[str, Any]) -> list[tuple[Side, Side]]:
        """Patches, row by row."""
        scale = metainfo.get("scale_factor", (1.0, 1.0))[::-1]  # mmdet has the width first
        lengths = (  # mmdet's Pad makes `img_shape` that of the padded image
            min(length, round(whole * factor))
            for length, whole, factor in zip(
                metainfo["img_shape"], metainfo["ori_shape"], scale, strict=False
            )
        )
        sides = zip(
            lengths,
            image.shape[1:],
            metainfo["ori_shape"],
            scale,
            self.slide.crop_size,
            self.slide.stride,
            strict=False,  # shapes may end with channels
        )
        rows, columns = (cut_side(*side) for side in sides)
        return list(product(rows, columns))

    def _run(
        self, image: Tensor, metainfo: dict[str, Any], patches: list[tuple[Side, Side]]
    ) -> Iterator[Any]:
        """Detections of each patch, in the original pixels of this patch."""
        from mmdet.structures import DetDataSample

        inputs, samples = [], []
        for y, x in patches:
            inputs.append(image[:, y.start : y.start + y.length, x.start : x.start + x.length])
            shape = (y.length, x.length)
            told = dict(
                scale_factor=metainfo.get("scale_factor", (1.0, 1.0)),
                img_shape=(y.inside, x.inside),
                ori_shape=(y.ori_length, x.ori_length),
                pad_shape=shape,
                batch_input_shape=shape,
            )
            samples.append(DetDataSample(metainfo={**metainfo, **told}))
        for sample in super().predict(torch.stack(inputs), samples):  # type: ignore[misc]
            if "pred_instances" not in sample or not _has_boxes(sample.pred_instances):
                raise ValueError(
                    f"{type(self).__mro__[2].__name__} predicts no boxes; expected a detector that "
                    "does, since patches are merged by them"
                )
            yield sample.pred_instances


@MODELS.register_module(name="SlidingDetector")
def sliding_detector(detector: str, slide: dict[str, Any], **kwargs: Any) -> Any:
    """A detector that predicts patch by patch, with the parameters and losses of the plain one.

    Args:
        detector: The plain one's `type`.
        slide: Fields of `Slide`.
        **kwargs: The plain one's.

    Raises:
        SetupError: There is no such detector, or `Slide` refuses its fields.
    """
    from mmdet.models import BaseDetector
    from mmdet.registry import MODELS as DETECTORS

    plain = DETECTORS.get(detector)
    if not isinstance(plain, type) or not issubclass(plain, BaseDetector):
        raise SetupError(f"detector={detector!r} is no detector of mmdet; expected its type")
    return type(f"Sliding{plain.__name__}", (Sliding, plain), {})(slide=Slide(**slide), **kwargs)


def _has_boxes(found: Any) -> bool:
    """Whether detections have boxes, other than the zeros of a detector that has masks only."""
    if "bboxes" not in found:
        return False
    return bool(found.bboxes.any()) or "masks" not in found or not found.masks.any()


def _are_cut(found: Any, patch: tuple[Side, Side]) -> Tensor:
    """Which detections of a patch end at one of its borders, shape (n,)."""
    left, top, right, bottom = found.bboxes.unbind(-1)
    cut: Tensor = patch[0].cuts(top, bottom) | patch[1].cuts(left, right)
    return cut


def _place(found: Any, patch: tuple[Side, Side]) -> Any:
    """Detections of a patch as detections of the image."""
    y, x = patch
    found.bboxes = found.bboxes + found.bboxes.new_tensor([x.ori_start, y.ori_start] * 2)
    if "masks" in found:
        offset, size = (y.ori_start, x.ori_start), (y.whole, x.whole)
        found.masks = [encode_at(mask, offset, size) for mask in found.masks.cpu().numpy()]
    return found


def _covered(found: Any, piece: Tensor) -> Tensor:
    """Which pieces lie in a larger box of their class, shape (n,)."""
    from mmdet.structures.bbox import bbox_overlaps

    left, top, right, bottom = found.bboxes.unbind(-1)
    area = (right - left) * (bottom - top)
    covered = torch.zeros_like(piece)
    for label in found.labels[piece].unique():
        same = found.labels == label
        ours = same & piece
        shares = bbox_overlaps(found.bboxes[ours], found.bboxes[same], mode="iof")
        larger = area[same] > area[ours][:, None]
        covered[ours] = ((shares > COVERED) & larger).any(1)
    return covered
