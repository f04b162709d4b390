"""Hooks that draw: what a masked autoencoder predicts, and what a trained model sees."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hiera_dense.registry import HOOKS  # isort: split

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor

from hiera_dense.mm.merging import decode

_COLUMNS = ("image", "seen", "predicted")
_MARGIN = 4  # pixels
_SHOWN = 0.3  # the lowest score that the hosts draw


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Shows images of the first validation batch: image, what was seen, what was predicted.

    A row for each image; of clips the middle frame. It goes to the visualizer as `reconstruction`.

    Args:
        images: How many, at most.
    """

    def __init__(self, images: int = 8) -> None:
        self.images = images

    def after_val_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[dict[str, Tensor]] | None = None,
    ) -> None:
        """Draw after the first batch."""
        if batch_idx or not outputs:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        statistics = [getattr(model.data_preprocessor, name, None) for name in ("mean", "std")]
        rows = [
            torch.cat([_pixels(out[name], *statistics) for name in _COLUMNS], dim=2)
            for out in outputs[: self.images]
        ]
        picture = torch.cat(rows, dim=1).movedim(0, -1).cpu().numpy()
        runner.visualizer.add_image("reconstruction", picture, step=runner.iter)


def _pixels(image: Tensor, mean: Tensor | None, std: Tensor | None) -> Tensor:
    """Normalised pixels (C, [T,] H, W) as they were, as RGB or grey, uint8, (3, H, W), framed."""
    if image.ndim == 4:
        image = image[:, image.shape[1] // 2]
    if mean is not None and std is not None:
        image = image * std + mean
    image = image[: 3 if len(image) >= 3 else 1]
    pixels = image.expand(3, -1, -1).clamp(0, 255).round().byte()
    return F.pad(pixels, (_MARGIN,) * 4, value=255)


class SavePictures(Hook):
    """Draws the truth (left) and the prediction (right) on each test image.

    Of an image in SPLIT/NAME.* the picture is FOLDER/SPLIT/NAME.png.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any, outputs: Sequence[Any]
    ) -> None:
        """Draw what one batch of the test gave."""
        import mmcv

        for sample in outputs:
            image = mmcv.imread(sample.img_path, channel_order="rgb")
            path = Path(sample.img_path)
            out_file = self.folder / path.parent.name / f"{path.stem}.png"
            _decode_masks(sample)
            runner.visualizer.add_datasample(
                path.stem, image, data_sample=sample, out_file=str(out_file)
            )


def _decode_masks(sample: Any) -> None:
    """Leave what is drawn, with masks as tensors, where they are run-length encoded."""
    found = sample.get("pred_instances", {})
    if isinstance(found.get("masks"), list):
        found = found[found.scores > _SHOWN]
        found.masks = torch.from_numpy(decode(found.masks, sample.ori_shape))
        sample.pred_instances = found
