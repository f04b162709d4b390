"""Whole models as graphs for torch.export: what stands around the networks of all kinds.

A *twin* is a module that computes what a model of the hosts predicts, with operations that
torch.export takes for any size of the image. There is a file for each kind of model, with a
function `twin(model, cfg)`: `model` is the model as MODELS builds it, in eval mode, and `cfg` its
config. A twin shares the layers of the model and changes nothing in it.

    forward(image, size) -> dict of tensors

`image` is one image, float32, (1, C, H, W), normalised, channels in the order of the network, and
padded at its right and lower edge; `size` is its height and width before the padding, two ints
(while a graph is traced symbols). Outputs:

- of a detector `boxes` (n, 4), left, top, right, bottom, in px of `image` and clipped to `size`;
  `scores` (n,); `labels` (n,), int64; and with masks `masks` (n, h, w), float32. The attribute
  `masks` of the twin says of what: "box", probabilities in the box (28 x 28); "image", logits of
  the whole padded image, at any stride; None, there are none. n need not be fixed, and the order
  is free. With "image" the runtime makes boxes and scores in the original image, as Mask2Former
  does: the twin gives `class_scores`, which the runtime multiplies by the mean probability in the
  mask; `boxes` and `scores` are not used.
- of a segmenter `logits` (1, K, h, w), float32, of the whole padded image, at any size.

`Detector` and `Segmenter` here add normalisation and padding before a twin, and after it the size
of the original image for a segmenter. Where a model has what no twin can do, `twin` raises
SetupError: which part, and what would do.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiera_dense.errors import SetupError

Size = tuple[int, int]


class Prepare(nn.Module):
    """Normalises and pads images as the data preprocessor of a model does.

    Args:
        preprocessor: Of the model; of mmdet or mmseg.
        channels: Of the images; three are given as RGB.
        is_read_as_rgb: Whether the model's own images of three channels are RGB, and not BGR as
            those of the hosts.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessor: Any, channels: int, is_read_as_rgb: bool = False) -> None:
        super().__init__()
        test_cfg = getattr(preprocessor, "test_cfg", None) or {}
        if test_cfg.get("size"):
            raise SetupError(
                f"data_preprocessor.test_cfg.size {test_cfg['size']}; expected size_divisor, to "
                "export it for any size"
            )
        divisor: Any = test_cfg.get("size_divisor") or getattr(preprocessor, "pad_size_divisor", 1)
        if hasattr(preprocessor, "seg_pad_val") and not test_cfg:
            divisor = 1  # mmseg pads test images only if test_cfg says so
        self.divisor = int(divisor)
        pad = getattr(preprocessor, "pad_val", getattr(preprocessor, "pad_value", 0))
        self.pad_value = float(pad)
        is_turned_over = bool(preprocessor._channel_conversion)
        self.is_bgr = channels == 3 and is_turned_over == is_read_as_rgb
        is_normalised = preprocessor._enable_normalize
        zeros, ones = torch.zeros(channels, 1, 1), torch.ones(channels, 1, 1)
        self.register_buffer("mean", preprocessor.mean.clone() if is_normalised else zeros)
        self.register_buffer("std", preprocessor.std.clone() if is_normalised else ones)

    def forward(self, image: Tensor) -> Tensor:
        """Of images (1, C, h, w) of any dtype float32, with sides that the divisor divides."""
        x = image.float()
        if self.is_bgr:
            x = x.flip(1)
        x = (x - self.mean) / self.std
        if self.divisor == 1:
            return x
        height, width = x.shape[2:]
        by = self.divisor
        rows, columns = (height + by - 1) // by * by, (width + by - 1) // by * by
        return F.pad(x, (0, columns - width, 0, rows - height), value=self.pad_value)


class Detector(nn.Module):
    """From an image at the network's scale to objects.

    Args:
        prepare: Normalises and pads.
        twin: Of the model.
    """

    def __init__(self, prepare: Prepare, twin: nn.Module) -> None:
        super().__init__()
        self.prepare = prepare
        self.twin = twin

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Objects, in px of the image."""
        height, width = image.shape[2:]
        found: dict[str, Tensor] = self.twin(self.prepare(image), (height, width))
        return found


class Segmenter(nn.Module):
    """From an image at the network's scale to labels of the original image.

    Args:
        prepare: Normalises and pads.
        twin: Of the model.
        align_corners: How the host resizes logits.
        threshold: Above which a pixel is of the one class, for heads with one channel.
    """

    def __init__(
        self, prepare: Prepare, twin: nn.Module, align_corners: bool, threshold: float
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.twin = twin
        self.align_corners = align_corners
        self.threshold = threshold

    def forward(self, image: Tensor, size: Tensor) -> Tensor:
        """Labels, uint8 or int32, shape (H, W).

        Args:
            image: (1, C, h, w).
            size: H and W of the original image, int64, shape (2,).
        """
        height, width = image.shape[2:]
        x = self.prepare(image)
        logits = self._resized(self.twin(x, (height, width))["logits"], tuple(x.shape[2:]))
        rows, columns = size[0].item(), size[1].item()
        for length in (rows, columns):
            torch._check(length >= 1)  # type: ignore[no-untyped-call]
        logits = self._resized(logits[:, :, :height, :width], (rows, columns))
        if logits.shape[1] == 1:
            labels = (logits[0, 0].sigmoid() > self.threshold).int()
        else:
            labels = logits[0].argmax(0)
        return labels.to(torch.uint8 if logits.shape[1] <= 256 else torch.int32)

    def _resized(self, logits: Tensor, size: Any) -> Tensor:
        return F.interpolate(logits, size, mode="bilinear", align_corners=self.align_corners)
