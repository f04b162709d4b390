"""What stands around the graph of an exported model: images before it, results after it.

It needs NumPy and Pillow; with OpenCV images are read and resized as the hosts do it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiera_dense.data.images import read_image
from hiera_dense.errors import CheckpointError, DataError, shown
from hiera_dense.predict.cropping import cropped
from hiera_dense.predict.found import Array, Crop, Task
from hiera_dense.predict.least_size import LeastSize
from hiera_dense.predict.palette import palette_for
from hiera_dense.predict.pasting import paste, resize_mask, resized
from hiera_dense.predict.results import Result

KEY = "hiera_dense"  # of the metadata
FORMAT = 1
EXPECTED = "expected a file that `hiera-dense export MODEL OUT.onnx` wrote"
_TASKS: tuple[Task, ...] = ("instances", "segmentation", "classification")


class ExportedModel:
    """A graph that `deploy` made, with all that it needs to predict. Threads may share it.

    Args:
        name: The file.
        meta: Its metadata.
        outputs: Names of the outputs of the graph.
        dtype: Of the images that it takes.

    Attributes:
        licence: Of the weights that the training began from, or why it is not known.

    Raises:
        CheckpointError: The metadata cannot be used.
    """

    def __init__(
        self, name: str, meta: Mapping[str, Any], outputs: Sequence[str], dtype: Any
    ) -> None:
        self.name = name
        self._outputs, self._dtype = list(outputs), dtype
        try:
            self._fill(meta)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{name}: its metadata cannot be used ({type(error).__name__}: "
                f"{shown(str(error))}); {EXPECTED}"
            ) from None

    def _fill(self, meta: Mapping[str, Any]) -> None:
        if meta["task"] not in _TASKS:
            raise ValueError(f"task {meta['task']!r}")
        self.task: Task = meta["task"]
        self.classes = tuple(shown(str(name)) for name in meta["classes"])
        self.palette = palette_for(len(self.classes), meta.get("palette"))
        self.channels = int(meta["channels"])
        self.licence = shown(str(meta.get("licence", "unknown")))
        resize, pad, masks = meta["resize"], meta["pad"], meta["masks"]
        self._scale: tuple[int, ...] | None = None
        self._crop: tuple[int, str, tuple[int, int]] | None = None
        if self.task == "classification":
            height, width = meta["crop"]
            self._crop = int(resize["shorter"]), str(resize["mode"]), (int(height), int(width))
        elif resize is not None:
            self._scale = tuple(int(side) for side in resize["scale"])
        self._keep_ratio = resize is not None and bool(resize.get("keep_ratio"))
        self._pad = None if pad is None else tuple(int(side) for side in pad["size"])
        self._pad_value = np.asarray(0 if pad is None else pad["value"])
        self._masks: str | None = None if masks is None else str(masks["of"])
        self._threshold = 0.0 if masks is None else float(masks["threshold"])
        self._divisor = int(meta["divisor"])
        self._least_size = LeastSize(meta.get("cells"), self._divisor)

    def run(self, names: Sequence[str], inputs: dict[str, Array]) -> list[Array]:
        """Outputs of the graph, by name.

        Raises:
            DataError: It does not take an image of this size.
        """
        raise NotImplementedError

    def read(self, path: Path) -> Array:
        """Read an image, upright; of three channels RGB.

        Raises:
            DataError: It is not read.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected an image")
        if self.channels != 3:
            raise DataError(f"{path}: expected an array, of a model of {self.channels} channels")
        try:
            return _pixels(path)
        except Exception as error:  # whatever a damaged file makes a decoder say
            raise DataError(
                f"{path}: not read ({type(error).__name__}: {shown(str(error))}); expected an "
                "image that is whole"
            ) from None

    def __call__(self, images: Sequence[Array], score: float = 0.0) -> list[Result]:
        """Predict, one image after the other.

        Args:
            images: As `read` gives them, uint8 or what else the model was trained on.
            score: The lowest of objects that are kept.

        Returns:
            For each image what was found, best first.
        """
        return [self._predict(image, score) for image in images]

    def inputs(self, image: Array) -> dict[str, Array]:
        """What the graph takes for an image, by name.

        Raises:
            DataError: The image is too small for the model.
        """
        prepared = self._prepared(image)
        self._least_size.check(image.shape[:2], prepared.shape[:2])
        pixels = prepared.transpose(2, 0, 1)[None]
        inputs = {"image": np.ascontiguousarray(pixels.astype(self._dtype))}
        if self.task == "segmentation":
            inputs["size"] = np.array(image.shape[:2], np.int64)
        return inputs

    def _predict(self, image: Array, score: float) -> Result:
        size = (image.shape[0], image.shape[1])
        inputs = self.inputs(image)
        if self.task == "segmentation":
            (labels,) = self.run(["labels"], inputs)
            return Result(size, self.classes, self.palette, segmentation=labels)
        if self.task == "classification":
            (scores,) = self.run(["scores"], inputs)
            return Result(size, self.classes, self.palette, class_scores=scores[0])
        values = self.run(self._outputs, inputs)
        found = _best(dict(zip(self._outputs, values, strict=True)), score)
        scaled = self._resized_size(size)
        crops: list[Crop] | None = None
        if self._masks == "image":
            crops = self._resize_masks(found, size, scaled, inputs["image"].shape[2:])
            found["boxes"] = _bounds(crops)
            found["places"] = np.arange(len(crops))
            found = _best(found, score)
            crops = [crops[place] for place in found["places"]]
        else:
            factor = np.array([scaled[1] / size[1], scaled[0] / size[0]] * 2, np.float32)
            found["boxes"] = found["boxes"].astype(np.float32) / factor
        if self._masks == "box":
            pairs = zip(found["masks"], found["boxes"], strict=True)
            crops = [paste(mask, box, size, self._threshold) for mask, box in pairs]
        return Result(
            size,
            self.classes,
            self.palette,
            boxes=found["boxes"],
            scores=found["scores"].astype(np.float32),
            labels=found["labels"].astype(np.int64),
            crops=None if crops is None else tuple(crops),
        )

    def _prepared(self, image: Array) -> Array:
        """An image at the scale of the network, (h, w, C)."""
        if self._crop is not None:
            return cropped(image, *self._crop)
        image = resized(image, self._resized_size(image.shape[:2]))
        if self._pad is not None:
            height, width = image.shape[:2]
            rows, columns = max(self._pad[0], height), max(self._pad[1], width)
            padded = np.empty((rows, columns, image.shape[2]), image.dtype)
            padded[...] = self._pad_value
            padded[:height, :width] = image
            image = padded
        return image

    def _resized_size(self, size: tuple[int, ...]) -> tuple[int, int]:
        """Height and width at the scale of the network, rounded as mmcv rounds."""
        height, width = size
        if self._scale is None:
            return height, width
        if not self._keep_ratio:
            return self._scale[1], self._scale[0]
        factor = min(max(self._scale) / max(height, width), min(self._scale) / min(height, width))
        scaled = int(height * float(factor) + 0.5), int(width * float(factor) + 0.5)
        if not min(scaled):
            raise DataError(
                f"an image of {height} x {width} px cannot be prepared for the model, which takes "
                f"it as {scaled[0]} x {scaled[1]}; expected one of usual sides"
            )
        return scaled

    def _resize_masks(
        self,
        found: dict[str, Array],
        size: tuple[int, int],
        scaled: tuple[int, int],
        padded: tuple[int, ...],
    ) -> list[Crop]:
        """Masks in the original image; scores become those of the classes and masks together."""
        by = self._divisor  # the graph pads the image, and masks are of all of that
        height, width = ((side + by - 1) // by * by for side in padded)
        crops = []
        scores = found["scores"].astype(np.float32)
        for i, mask in enumerate(found["masks"]):
            logits = resize_mask(mask, (height, width), scaled, size)
            pixels = logits > self._threshold
            inside = 1 / (1 + np.exp(-logits[pixels]))
            scores[i] *= inside.sum() / (len(inside) + 1e-6)
            crops.append(Crop.of(pixels))
        found["scores"] = scores
        return crops


def _best(found: dict[str, Array], score: float) -> dict[str, Array]:
    """Objects of at least a score, best first."""
    order = np.argsort(-found["scores"], kind="stable")
    order = order[found["scores"][order] >= score]
    return {name: value[order] for name, value in found.items()}


def _pixels(path: Path) -> Array:
    """RGB, uint8, upright; decoded by OpenCV if it is installed, as the hosts do."""
    try:
        import cv2
    except ImportError:
        return np.asarray(read_image(path))
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("OpenCV decodes no image")
    found: Array = np.ascontiguousarray(pixels[..., ::-1])
    return found


def _bounds(crops: Sequence[Crop]) -> Array:
    """Boxes around masks."""
    boxes = np.zeros((len(crops), 4), np.float32)
    for box, (top, left, pixels) in zip(boxes, crops, strict=True):
        height, width = pixels.shape
        box[:] = left, top, left + width, top + height
    return boxes
