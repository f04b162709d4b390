"""A detector that finds what is bright, without error."""

from typing import Any

import numpy as np
import torch
from mmdet.models import BaseDetector
from mmdet.registry import MODELS as DETECTORS
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from scipy import ndimage

SIZE = (100, 160)  # height, width
SLIDE = dict(crop_size=(64, 64), stride=(40, 40))


@DETECTORS.register_module(force=True)
class Bright(BaseDetector):
    """Finds what is bright, without error: each value a class, each connected patch an object.

    A piece of an object has a higher score than the whole.
    """

    def __init__(self, seen: list[tuple[int, ...]] | None = None, boxes: bool = True) -> None:
        super().__init__()
        self.seen = [] if seen is None else seen
        self.boxes = boxes

    def loss(self, *_: Any) -> dict:
        return {}

    def _forward(self, *_: Any) -> None:
        return None

    def extract_feat(self, *_: Any) -> None:
        return None

    def predict(self, batch_inputs: torch.Tensor, batch_data_samples: list) -> list:
        self.seen.append(tuple(batch_inputs.shape))
        return self.add_pred_to_datasample(
            batch_data_samples,
            [self.find(*pair) for pair in zip(batch_inputs, batch_data_samples, strict=True)],
        )

    def find(self, image: torch.Tensor, sample: DetDataSample) -> InstanceData:
        height, width = sample.img_shape
        scale = sample.ori_shape[0] / height
        boxes, labels, masks = [], [], []
        pixels = image[0, :height, :width].numpy()
        for value in np.unique(pixels[pixels > 0]):
            components, _ = ndimage.label(pixels == value)
            for number, (y, x) in enumerate(ndimage.find_objects(components), start=1):
                boxes.append([x.start * scale, y.start * scale, x.stop * scale, y.stop * scale])
                labels.append(int(value) - 1)
                large = np.kron(components == number, np.ones((round(scale),) * 2))
                masks.append(torch.from_numpy(large.astype(bool)))
        found = torch.tensor(boxes).reshape(-1, 4)
        area = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])
        return InstanceData(
            bboxes=found * self.boxes,
            labels=torch.tensor(labels, dtype=torch.long),
            scores=1 / (1 + area),
            masks=torch.stack(masks) if masks else torch.zeros((0, *sample.ori_shape)).bool(),
        )


def sliding(detector: str = "Bright", slide: dict = SLIDE, **kwargs: Any) -> Any:
    cfg = dict(type="hiera_dense.SlidingDetector", detector=detector, slide=slide, **kwargs)
    return MODELS.build(cfg)


def sample_of(shape: tuple[int, int], scale: float = 1.0) -> DetDataSample:
    ori_shape = tuple(round(side / scale) for side in shape)
    told = dict(img_shape=shape, ori_shape=ori_shape, scale_factor=(scale, scale), img_id=1)
    return DetDataSample(metainfo=told)


def image_with(objects: list[tuple[int, slice, slice]], size: tuple[int, int] = SIZE) -> Any:
    image = torch.zeros(1, 3, *size)
    for value, y, x in objects:
        image[..., y, x] = value
    return image
