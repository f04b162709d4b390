"""A trained model, from where it lies to what it finds in images."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np

from hiera_dense.data.images import upright_rgb
from hiera_dense.errors import CheckpointError, DataError, SetupError
from hiera_dense.predict.found import Array, Task
from hiera_dense.predict.palette import Colour
from hiera_dense.predict.results import Result

SCORE = 0.3  # under which an object is rather none

Image = Any  # a path, an image of Pillow's, an array, a tensor


class Engine(Protocol):
    """What runs a network on arrays."""

    name: str
    task: Task
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    channels: int
    licence: str

    def read(self, path: Path) -> Array:
        """Read an image as the model was trained on it, shape (H, W, C); RGB."""
        ...

    def __call__(self, images: Sequence[Array], score: float = 0.0) -> list[Result]:
        """What is found in images, of objects those of at least a score."""
        ...


class Predictor:
    """Finds objects in images, or the class of each pixel or image, with a trained model.

        predictor = Predictor("work_dirs/RUN")
        result = predictor("photo.jpg")

    No code of a checkpoint is run, and the data of the training are not needed. Threads may share a
    predictor: the network runs for one of them at a time. Processes cannot: make one in each.

    Args:
        source: A run's folder (its best checkpoint, else the last), a checkpoint with its config
            inside it, a published model (its folder, or `USER/NAME` on the Hugging Face hub), with
            `weights` a config file or the name of a recipe, or an exported model, FILE.onnx, which
            is run without torch and the hosts.
        weights: A checkpoint, for a config.
        score: From 0 to 1; objects of lower scores are left out.
        batch: Images of a list that go through the network together, where they have one size.
        device: As torch names it, `cpu` or `cuda:1`; None: a GPU, if there is one.
        half: Run the network in float16; on a GPU only.
        tile: Go over images in patches of this many px, at their own resolution. The overlap is a
            quarter; see docs/data-at-scale.md.
        tta: Test-time augmentation, as the model's config has it.

    Attributes:
        name: The file of the model.
        task: `instances`, boxes with or without masks, `segmentation` or `classification`.
        classes: Names of the classes; a label is a place in them.
        palette: A colour for each class, RGB.
        channels: Of the images.
        licence: Of the weights that the training began from, or why it is not known.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no trained model, or cannot be used with these settings.
    """

    def __init__(
        self,
        source: str | Path,
        weights: str | Path | None = None,
        *,
        score: float = SCORE,
        batch: int = 1,
        device: str | None = None,
        half: bool = False,
        tile: int | None = None,
        tta: bool = False,
    ) -> None:
        self.score = _share(score)
        for name, number in (("batch", batch), ("tile", tile)):
            if number is not None and (not isinstance(number, Integral) or number < 1):
                raise SetupError(f"{name} {number!r}; expected 1 or more, a whole number")
        self.batch = batch
        engine = _engine(source, weights, device, half, tile, tta)
        self._engine = engine
        self.name, self.task, self.channels = engine.name, engine.task, engine.channels
        self.classes, self.palette = engine.classes, engine.palette
        self.licence = engine.licence

    def __repr__(self) -> str:
        return f"Predictor({self.name}: {self.task} of {len(self.classes)} classes)"

    @overload
    def __call__(
        self,
        image: Sequence[Image],
        *,
        score: float | None = None,
        classes: Sequence[str] | None = None,
    ) -> list[Result]: ...

    @overload
    def __call__(
        self, image: Image, *, score: float | None = None, classes: Sequence[str] | None = None
    ) -> Result: ...

    def __call__(
        self,
        image: Image | Sequence[Image],
        *,
        score: float | None = None,
        classes: Sequence[str] | None = None,
    ) -> Result | list[Result]:
        """What is found in an image, or in each image of a list.

        Args:
            image: A path, which is read as the training reads it; an image of Pillow's; an array of
                NumPy's, (H, W, 3) or (H, W), uint8, in the order RGB (OpenCV's is BGR); or a tensor
                (C, H, W), RGB, uint8 or from 0 to 1. Models of other than three channels take
                arrays and tensors as they are.
            score: In place of the predictor's.
            classes: Names of the classes of objects to keep; None: all.

        Raises:
            DataError: It is no image, or not of the model's channels.
            SetupError: A score or class is none of the model's.
        """
        if not isinstance(image, list | tuple):
            return self([image], score=score, classes=classes)[0]
        return list(self.stream(image, score=score, classes=classes))

    def stream(
        self,
        images: Any,
        *,
        score: float | None = None,
        classes: Sequence[str] | None = None,
    ) -> Iterator[Result]:
        """The same for any number of images, of which few are held at a time.

        Args:
            images: Iterable, of what `__call__` takes.
            score: As there.
            classes: As there.
        """
        least = self.score if score is None else _share(score)
        ahead = iter(images)
        while chunk := list(islice(ahead, self.batch)):
            pixels = [self.pixels(image) for image in chunk]
            found = self._engine(pixels, least)
            for image, array, result in zip(chunk, pixels, found, strict=True):
                path = str(image) if isinstance(image, str | Path) else None
                yield replace(result.keep(least, classes), image=shown(array), path=path)

    def pixels(self, image: Image) -> Array:
        """An image as the model takes it, shape (H, W, C); of three channels RGB.

        Raises:
            DataError: It is no image, or not of the model's channels.
        """
        if isinstance(image, str | Path):
            array, name = self._engine.read(Path(image)), str(image)
        else:
            array, name = _array(image, self.channels), f"{type(image).__name__}"
        if array.ndim == 2:
            array = array[..., None]
        if array.shape[2] == 1 and self.channels == 3:
            array = array.repeat(3, axis=2)
        if array.shape[2] != self.channels:
            raise DataError(f"{name}: {array.shape[2]} channels; expected {self.channels}")
        if min(array.shape) < 1:
            raise DataError(f"{name}: shape {array.shape}; expected at least one pixel")
        return array


def _engine(
    source: str | Path,
    weights: str | Path | None,
    device: str | None,
    half: bool,
    tile: int | None,
    tta: bool,
) -> Engine:
    """What runs a model; torch and the hosts are imported for their own models alone."""
    if Path(source).suffix == ".pt2":
        raise CheckpointError(
            f"{source}: a program of torch.export, whose file may run code when it is read; one "
            "that you trust is run with torch.export.load (docs/deploy.md); expected FILE.onnx"
        )
    if Path(source).suffix == ".onnx":
        options = dict(weights=weights is not None, half=half, tile=tile is not None, tta=tta)
        if given := [name for name, is_given in options.items() if is_given]:
            raise SetupError(
                f"{', '.join(given)} with {source}; expected none of them with an exported model"
            )
        from hiera_dense.predict.onnx_model import OnnxModel

        return OnnxModel(source, device)
    from hiera_dense.mm.trained import read_trained
    from hiera_dense.predict.hosts import HostModel

    return HostModel(read_trained(source, weights), device, half, tile, tta)


def shown(pixels: Array) -> Array:
    """What to draw on: an image of any channels and dtype as RGB, uint8, shape (H, W, 3)."""
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.ascontiguousarray(pixels)  # torch takes no array that runs backwards
    first = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    if first.dtype == np.uint8:
        return first
    low, high = np.nanmin(first), np.nanmax(first)
    scaled = (first - low) / max(float(high - low), 1e-9) * 255
    pixels8: Array = np.nan_to_num(scaled).astype(np.uint8)
    return pixels8


def _array(image: Any, channels: int) -> Array:
    """The pixels of an image of Pillow's, an array or a tensor, (H, W) or (H, W, C)."""
    if hasattr(image, "convert") and hasattr(image, "getexif"):
        from PIL import ImageOps

        try:
            return np.asarray(
                upright_rgb(image) if channels == 3 else ImageOps.exif_transpose(image)
            )
        except Exception as error:  # a damaged file is decoded only now
            raise DataError(
                f"an image of Pillow's that is not read ({error}); expected one that is whole"
            ) from None
    is_tensor = hasattr(image, "detach")
    array: Any = _of_tensor(image) if is_tensor else image
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3):
        raise DataError(
            f"{_described(image)}; expected a path, an image of Pillow's, an array (H, W, C) or a "
            "tensor (C, H, W)"
        )
    if is_tensor and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if not array.size:
        raise DataError(f"{_described(image)}; expected at least one pixel")
    if channels in (1, 3) and array.dtype != np.uint8:
        is_share = is_tensor and array.dtype.kind == "f"
        if not is_share or not (array.min() >= 0 and array.max() <= 1):
            expected = "uint8, or of a tensor floats from 0 to 1"
            raise DataError(f"{_described(image)} of {array.dtype}; expected {expected}")
        array = (array * 255).round().astype(np.uint8)
    checked: Array = array
    return checked


def _of_tensor(image: Any) -> Array:
    try:
        image = image.detach()
        image = image.float() if image.is_floating_point() else image  # NumPy has no bfloat16
        pixels: Array = image.cpu().numpy()
    except (RuntimeError, TypeError) as error:  # sparse, or without values
        raise DataError(f"{_described(image)} ({error}); expected a dense tensor") from None
    return pixels


def _described(image: Any) -> str:
    shape = getattr(image, "shape", None)
    return type(image).__name__ + ("" if shape is None else f" of shape {tuple(shape)}")


def _share(score: float) -> float:
    if not isinstance(score, Real) or not 0 <= score <= 1:
        raise SetupError(f"score {score!r}; expected 0 to 1")
    return float(score)
