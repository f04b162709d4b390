"""Instance masks for mmdet's pipelines that are kept as small pictures until they are needed whole.

mmdet's own masks are of the whole image, and each transform copies all of them. Large-scale jitter
makes them larger and throws most pixels away in the next step.
"""

from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from mmcv.image import rescale_size
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.structures.bbox import HorizontalBoxes, get_box_type
from mmdet.structures.mask import BitmapMasks
from numpy.typing import NDArray
from torch import from_numpy

Mask = NDArray[np.uint8]
Crop = tuple[int, int, Mask]  # top and left in an image, and the pixels
Places = NDArray[np.intp]


class MaskCrops(BitmapMasks):
    """mmdet's `BitmapMasks`, of which each mask is kept as the part of it that has an object.

    Resizing with `nearest`, flips, crops and padding with 0 choose rows and columns, so they are
    noted, and done once, when the masks are read. All else is mmdet's, on whole masks, and so are
    the values: exactly those of `BitmapMasks`.

    Args:
        masks: uint8, (height, width) each.
        height: In px.
        width: In px.
    """

    def __init__(self, masks: Any, height: int, width: int) -> None:
        self._set([_cropped(mask) for mask in masks], np.arange(height), np.arange(width))

    def _set(self, crops: Sequence[Crop], rows: Places, columns: Places) -> None:
        self.crops = crops  # of the image that was loaded
        self.rows, self.columns = rows, columns  # of that image; -1: padding
        self.height, self.width = len(rows), len(columns)
        self._parts: list[Crop] | None = None
        self._whole: Mask | None = None

    def _like(self, rows: Places, columns: Places) -> "MaskCrops":
        new = MaskCrops.__new__(MaskCrops)
        new._set(self.crops, rows, columns)
        return new

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be made again: masks go from process to process as they are kept."""
        return {**self.__dict__, "_parts": None, "_whole": None}

    @property
    def parts(self) -> list[Crop]:
        """Top and left of each crop in the image of now, and its pixels there."""
        if self._parts is None:
            self._parts = [self._part(*crop) for crop in self.crops]
        return self._parts

    def _part(self, top: int, left: int, pixels: Mask) -> Crop:
        rows, columns = (
            np.flatnonzero((places >= start) & (places < start + length))
            for places, start, length in zip(
                (self.rows, self.columns), (top, left), pixels.shape, strict=True
            )
        )
        if not (rows.size and columns.size):
            return 0, 0, np.empty((0, 0), np.uint8)
        # Rows and columns rise or fall throughout, so what is found is without gaps.
        part = pixels[self.rows[rows] - top].take(self.columns[columns] - left, axis=1)
        return int(rows[0]), int(columns[0]), part

    @property
    def masks(self) -> Mask:
        """The whole masks, (N, height, width)."""
        if self._whole is None:
            whole = np.zeros((len(self), self.height, self.width), np.uint8)
            for mask, (top, left, pixels) in zip(whole, self.parts, strict=True):
                height, width = pixels.shape
                mask[top : top + height, left : left + width] = pixels
            self._whole = whole
        return self._whole

    @masks.setter
    def masks(self, masks: Mask) -> None:
        self.__init__(masks, *masks.shape[1:])  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: Any) -> "MaskCrops":
        """Some of the masks, by a number, numbers or booleans."""
        new = self._like(self.rows, self.columns)
        new.crops = [self.crops[i] for i in np.arange(len(self))[index].reshape(-1)]
        return new

    def rescale(self, scale: Any, interpolation: str = "nearest") -> BitmapMasks:
        """Of another size, width and height in the same ratio; `scale` is mmcv's."""
        width, height = rescale_size((self.width, self.height), scale)
        return self.resize((height, width), interpolation)

    def resize(self, out_shape: Any, interpolation: str = "nearest") -> BitmapMasks:
        """Of another height and width in px."""
        if interpolation != "nearest":
            return super().resize(out_shape, interpolation)
        return self._like(
            self.rows[_nearest(self.height, out_shape[0])],
            self.columns[_nearest(self.width, out_shape[1])],
        )

    def flip(self, flip_direction: str = "horizontal") -> BitmapMasks:
        """Mirrored: `horizontal`, `vertical`, or `diagonal`, which is both."""
        rows = self.rows if flip_direction == "horizontal" else self.rows[::-1]
        columns = self.columns if flip_direction == "vertical" else self.columns[::-1]
        return self._like(rows, columns)

    def pad(self, out_shape: Any, pad_val: int = 0) -> BitmapMasks:
        """With padding at the bottom and at the right, to a height and width in px."""
        bottom, right = out_shape[0] - self.height, out_shape[1] - self.width
        if pad_val or bottom < 0 or right < 0:
            return super().pad(out_shape, pad_val)
        return self._like(
            np.pad(self.rows, (0, bottom), constant_values=-1),
            np.pad(self.columns, (0, right), constant_values=-1),
        )

    def crop(self, bbox: Any) -> BitmapMasks:
        """The part inside of a box: left, top, right, bottom in px."""
        left, right = np.clip(bbox[0::2], 0, self.width)
        top, bottom = np.clip(bbox[1::2], 0, self.height)
        return self._like(
            self.rows[top : max(bottom, top + 1)], self.columns[left : max(right, left + 1)]
        )

    def get_bboxes(self, dst_type: Any = "hbox") -> Any:
        """Boxes around the pixels of each mask; zeros around none."""
        if get_box_type(dst_type)[1] is not HorizontalBoxes:
            return super().get_bboxes(dst_type)
        boxes = np.zeros((len(self), 4), np.float32)
        for box, (top, left, pixels) in zip(boxes, self.parts, strict=True):
            rows, columns = (np.flatnonzero(pixels.any(axis)) for axis in (1, 0))
            if rows.size:
                box[:] = left + columns[0], top + rows[0], left + columns[-1], top + rows[-1]
                box[2:] += 1
        return HorizontalBoxes(from_numpy(boxes))

    @classmethod
    def cat(cls, masks: Any) -> BitmapMasks:
        """The masks of several, one after the other."""
        return BitmapMasks.cat(masks)


class LoadCroppedMasks(LoadAnnotations):
    """mmdet's `LoadAnnotations`, whose masks are `MaskCrops`; polygons stay as they are."""

    def _load_masks(self, results: dict[str, Any]) -> None:
        if not self.poly2mask:
            super()._load_masks(results)
            return
        height, width = results["ori_shape"]
        masks = [self._poly2mask(mask, height, width) for mask in self._process_masks(results)]
        results["gt_masks"] = MaskCrops(masks, height, width)


def _cropped(mask: Mask) -> Crop:
    if mask.flags.f_contiguous:  # OpenCV would copy it
        top, left, height, width = cv2.boundingRect(mask.T)
    else:
        left, top, width, height = cv2.boundingRect(mask)
    return top, left, mask[top : top + height, left : left + width].copy()


def _nearest(old: int, new: int) -> Places:
    """The places that OpenCV takes along a side that gets another length."""
    if not new:
        return np.arange(0)
    places = np.floor(np.arange(new) * (1 / (new / old))).astype(np.intp)  # rounded as OpenCV does
    return cast(Places, np.minimum(places, old - 1))
