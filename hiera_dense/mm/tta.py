"""Test-time augmentation of detectors, masks included; mmdet's own has boxes only."""

from collections.abc import Mapping
from typing import Any

from hiera_dense.registry import MODELS  # isort: split

from mmengine.config import Config
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData

from hiera_dense.errors import SetupError
from hiera_dense.mm.merging import flip, keep_best


@MODELS.register_module()
class DetTTAModel(BaseTTAModel):
    """Finds objects in several views of an image, turned over and resized, and keeps the best.

    Boxes, classes and scores are those of mmdet's `DetTTAModel`; a mask is that of its box.

    Args:
        tta_cfg: `nms` and `max_per_img`, as in mmdet.
        **kwargs: mmengine's: `module`, the detector.
    """

    def __init__(self, tta_cfg: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.nms = dict(tta_cfg["nms"])
        self.max_per_img = tta_cfg["max_per_img"]

    def merge_preds(self, data_samples_list: list[list[Any]]) -> list[Any]:
        """The first view of each image, with the detections of all."""
        merged = []
        for views in data_samples_list:
            found = InstanceData.cat([_turned_back(view) for view in views])
            views[0].pred_instances = keep_best(found, self.nms, self.max_per_img)
            merged.append(views[0])
        return merged


def _turned_back(view: Any) -> Any:
    """Detections of a view, in the original image."""
    from mmdet.structures.bbox import bbox_flip

    found = view.pred_instances
    if view.flip:
        found.bboxes = bbox_flip(found.bboxes, view.ori_shape, view.flip_direction)
        if "masks" in found:
            found.masks = flip(found.masks, view.flip_direction)
    return found


def augment(cfg: Config) -> None:
    """Set up test-time augmentation, with the `tta_model` and `tta_pipeline` of a config.

    Raises:
        SetupError: where the config has none.
    """
    if missing := [key for key in ("tta_model", "tta_pipeline") if key not in cfg]:
        raise SetupError(
            f"--tta: {cfg.filename} has no {' and no '.join(missing)}; expected both "
            "(docs/data-at-scale.md has them)"
        )
    cfg.model = cfg.tta_model | dict(module=cfg.model)
    dataset = cfg.test_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline
