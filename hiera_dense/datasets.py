"""Data sets of mmseg that configs name."""

from pathlib import Path
from typing import Any

from hiera_dense.registry import DATASETS  # isort: split

from mmengine.dataset import BaseDataset

from hiera_dense.annotations import DataError, pair_masks


@DATASETS.register_module()
class MaskFolder(BaseDataset):  # type: ignore[misc]  # mmengine ships no types
    """Images and index masks for mmseg's pipelines, with any suffix, paired by name.

    The value of a pixel is its class; 255 is ignored.

    Args:
        data_prefix: `img_path` and `seg_map_path`, the two folders.
        metainfo: `classes` and `palette`.
        **kwargs: mmengine's.

    Raises:
        DataError: An image has no mask, or there is no image.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry for each image, sorted by path, in the form that mmseg's transforms read."""
        images, masks = (Path(self.data_prefix[key]) for key in ("img_path", "seg_map_path"))
        pairs = pair_masks(images, masks)
        if not pairs:
            raise DataError(f"no image in {images}")
        if alone := [image for image, mask in pairs.items() if mask is None]:
            raise DataError(f"{len(alone)} images without a mask in {masks}, first {alone[0]}")
        same = dict(label_map=None, reduce_zero_label=False)
        return [
            dict(img_path=str(image), seg_map_path=str(mask), seg_fields=[], **same)
            for image, mask in pairs.items()
        ]
