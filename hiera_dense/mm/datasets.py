"""Data sets that configs name: index masks for mmseg; whole images, with classes or without."""

import logging
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from hiera_dense.registry import DATASETS  # isort: split

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from hiera_dense.data.images import class_names, find_images, read_image, readable_suffixes
from hiera_dense.data.masks import IGNORE, pair_masks, read_mask
from hiera_dense.errors import DataError, SetupError


@DATASETS.register_module()
class MaskFolder(BaseDataset):
    """Images and index masks for mmseg's pipelines, with any suffix, paired by name.

    The value of a pixel is its class; 255 is ignored.

    Args:
        data_prefix: `img_path` and `seg_map_path`, the two folders.
        metainfo: `classes` and `palette`.
        **kwargs: mmengine's.

    Raises:
        DataError: An image has no mask, or there is no image.
    """

    # mmseg's confusion_matrix.py reads these three of a data set, as its own have them.
    ignore_index = IGNORE
    reduce_zero_label = False

    def __init__(self, **kwargs: Any) -> None:
        self._classes_in: dict[int, list[int]] = {}
        super().__init__(**kwargs)
        self.METAINFO = self.metainfo

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

    def get_cat_ids(self, idx: int) -> list[int]:
        """The classes in an image, for mmengine's `ClassBalancedDataset`, which asks twice.

        Raises:
            DataError: Its mask cannot be read.
        """
        if idx not in self._classes_in:
            values = np.unique(read_mask(Path(self.get_data_info(idx)["seg_map_path"])))
            self._classes_in[idx] = [int(value) for value in values if value != IGNORE]
        return self._classes_in[idx]


class _Files(Dataset[dict[str, Any]]):
    """Image files through torchvision's transforms, as RGB.

    What cannot be read is told, and the next image takes its place.
    """

    def __init__(
        self, files: list[Path], labels: list[int] | None, transforms: Sequence[Mapping[str, Any]]
    ) -> None:
        # Arrays, since the processes of a loader share these: a list is copied by being read.
        self.files = np.array([os.fsencode(path) for path in files])
        self.labels = None if labels is None else np.array(labels)
        self.transforms = v2.Compose([_transform(cfg) for cfg in transforms])
        self._unreadable: set[Path] = set()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`inputs`, uint8 pixels of shape (3, H, W), and `data_samples`, the class if there is one.

        Raises:
            DataError: No file can be read.
        """
        for step in range(len(self)):
            place = (index + step) % len(self)
            path = Path(os.fsdecode(self.files[place]))
            try:
                image = read_image(path)
            except OSError as error:
                if path not in self._unreadable:
                    print_log(f"skipped, cannot be read: {error}", "current", logging.WARNING)
                self._unreadable.add(path)
                continue
            sample = dict(inputs=v2.functional.to_image(self.transforms(image)).as_subclass(Tensor))
            known = {} if self.labels is None else dict(data_samples=int(self.labels[place]))
            return sample | known
        raise DataError(f"none of {len(self.files)} images can be read")


def _transform(cfg: Mapping[str, Any]) -> Any:
    settings = dict(cfg)
    name = settings.pop("type")
    if not (isinstance(name, str) and isinstance(kind := getattr(v2, name, None), type)):
        raise SetupError(f"unknown transform {name!r}; expected one of torchvision.transforms.v2")
    if isinstance(mode := settings.get("interpolation"), str):
        settings["interpolation"] = v2.InterpolationMode(mode)
    return kind(**settings)


@DATASETS.register_module()
class Images(_Files):
    """All images below a folder, nested or flat, in any format that Pillow reads, without labels.

    Args:
        root: The folder.
        transforms: Of torchvision.transforms.v2, by name: `dict(type='RandomResizedCrop', ...)`.
        hold_out: Every how manieth image is for validation; 0: none.
        validation: Take those, and not the others.

    Raises:
        DataError: There is no image.
        SetupError: A transform is unknown.
    """

    def __init__(
        self,
        root: str,
        transforms: Sequence[Mapping[str, Any]],
        hold_out: int = 0,
        validation: bool = False,
    ) -> None:
        files = find_images(Path(root), readable_suffixes())
        if hold_out:
            files = [f for i, f in enumerate(files) if (i % hold_out == 0) == validation]
        if not files:
            raise DataError(f"no image in {root}")
        super().__init__(files, None, transforms)


@DATASETS.register_module()
class ClassFolders(_Files):
    """Images in a folder for each class, as ImageNet's are; classes in the order of their names.

    Args:
        root: The folder with the folders of the classes.
        transforms: Of torchvision.transforms.v2, by name: `dict(type='RandomResizedCrop', ...)`.
        classes: Names of the classes. None: the folders that are there.

    Raises:
        DataError: There is no image, or a folder that is no class.
        SetupError: A transform is unknown.
    """

    def __init__(
        self,
        root: str,
        transforms: Sequence[Mapping[str, Any]],
        classes: Sequence[str] | None = None,
    ) -> None:
        names = class_names(Path(root))
        classes = list(classes or names)
        if unknown := sorted(set(names) - set(classes)):
            raise DataError(f"{root} has folders that are no class: {', '.join(unknown[:3])}")
        found = [find_images(Path(root, name), readable_suffixes()) for name in classes]
        if not any(found):
            raise DataError(f"no image in the folders of {root}")
        labels = [label for label, files in enumerate(found) for _ in files]
        super().__init__(list(chain.from_iterable(found)), labels, transforms)
        self.metainfo = dict(classes=tuple(classes))
