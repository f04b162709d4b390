"""A trained model of the hosts, or a classifier of ours, run on arrays."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hiera_dense.mm.trained import CLASSIFIER, Trained  # first: it says what to do without mmengine

# isort: split
import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope

from hiera_dense.data.images import read_image
from hiera_dense.errors import DataError, SetupError
from hiera_dense.mm.bounded import no_larger_than
from hiera_dense.mm.building import building, message_of
from hiera_dense.mm.class_checks import check_classes
from hiera_dense.mm.merging import decode
from hiera_dense.mm.whole_models import fill_whole
from hiera_dense.predict.cropping import cropped
from hiera_dense.predict.found import Array, Crop, Task
from hiera_dense.predict.palette import palette_for
from hiera_dense.predict.results import Result
from hiera_dense.weights.origin import origin_of

_Step = Callable[[dict[str, Any]], Any]
OVERLAP = 4  # a patch overlaps the next by its side divided by this
TASKS: Mapping[str, Task] = {  # by scope
    "mmdet": "instances",
    "mmseg": "segmentation",
    CLASSIFIER: "classification",
}
_RESIZING = ("Resize", "Pad")


class HostModel:
    """A detector of MMDetection, a segmenter of MMSegmentation or a classifier of ours.

    Several threads may call it; the network runs for one of them at a time.

    Args:
        trained: What was read from the disk.
        device: As torch names it; None: a GPU, if there is one.
        half: Run the network in float16, where autocast does so; on a GPU only.
        tile: Go over the image in patches of this many px, at the image's own resolution.
        tta: Test-time augmentation, as the config has it.

    Raises:
        SetupError: It cannot be built, or not with these settings.
        CheckpointError: The weights are not those of the model.
    """

    def __init__(
        self,
        trained: Trained,
        device: str | None = None,
        half: bool = False,
        tile: int | None = None,
        tta: bool = False,
    ) -> None:
        self.device = device_of(device)
        if half and self.device.type != "cuda":
            raise SetupError(f"half on {self.device}; expected a GPU of CUDA")
        self._half = half
        self.name = trained.name
        self.licence = origin_of(trained.began_from).licence
        backbone = trained.model.get("backbone") or trained.model
        self.channels = int(backbone.get("in_channels", 3))
        self.classes = trained.classes
        self.palette = palette_for(len(trained.classes), trained.palette)
        # A copy, since DINO's constructor writes into it.
        settings, pipeline = deepcopy(trained.model), list(trained.pipeline)
        if tile is not None:
            settings, pipeline = _in_patches(trained, tile)
        self.task = TASKS[trained.scope]
        if self.task == "classification" and self.channels != 3:
            raise SetupError(f"{trained.name}: in_channels {self.channels}; expected 3: images")
        self._lock = threading.Lock()
        with building(), DefaultScope.overwrite_default_scope(trained.scope):
            network = network_of(trained, settings)
            if tta:
                network, pipeline = _augmented(trained, network)
            self._reader, self._prepare = _split(trained, pipeline)
        check_classes(network, {trained.name: SimpleNamespace(metainfo=dict(classes=self.classes))})
        self._model = revert_sync_batchnorm(network).eval().to(self.device)

    def read(self, path: Path) -> Array:
        """Read an image as the model was trained on it.

        Returns:
            Shape (H, W, C); of three channels RGB.

        Raises:
            DataError: It is not read.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected an image")
        try:
            image: Array = self._reader({"img_path": str(path)})["img"]
        except Exception as error:  # whatever a damaged file makes a decoder say
            raise DataError(
                f"{path}: not read by the model's reader of images ({message_of(error)}); expected "
                "an image that is whole"
            ) from None
        is_colour = image.ndim == 3 and image.shape[2] == 3
        return image[..., ::-1] if is_colour else image

    def __call__(self, images: Sequence[Array], score: float = 0.0) -> list[Result]:
        """Predict.

        Args:
            images: As `read` gives them, uint8 or what else the model was trained on.
            score: The lowest of objects that are kept.

        Returns:
            For each image what was found, best first.

        Raises:
            DataError: An image cannot be prepared, such as one of a px by thousands.
            SetupError: The device has not enough memory, or the model predicts something else.
        """
        prepared = [self._prepared(image) for image in images]
        results: dict[int, Result] = {}
        with self._lock, torch.inference_mode(), self._autocast():
            for places in _alike(prepared):
                samples = self._run([prepared[place] for place in places])
                for place, sample in zip(places, samples, strict=True):
                    results[place] = self._result(sample, images[place].shape, score)
        return [results[place] for place in range(len(images))]

    def _prepared(self, image: Array) -> Any:
        try:
            return self._prepare(_as_loaded(image))
        except DataError:
            raise
        except Exception as error:  # whatever the transforms of a config say
            raise DataError(
                f"an image of {image.shape[0]} x {image.shape[1]} px cannot be prepared for the "
                f"model ({type(error).__name__}: {message_of(error)}); expected one of usual sides"
            ) from error

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda", torch.float16) if self._half else nullcontext()

    def _run(self, prepared: list[Any]) -> list[Any]:
        try:
            return list(self._model.test_step(pseudo_collate(prepared)))
        except torch.OutOfMemoryError as error:
            raise SetupError(
                f"{self.device} has not enough memory for {len(prepared)} images; expected fewer "
                "at once, or patches (tile)"
            ) from error

    def _result(self, sample: Any, shape: tuple[int, ...], score: float) -> Result:
        size = (shape[0], shape[1])
        if self.task == "classification":
            scores = sample["scores"].float()
            if not self._model.network.head.softmax_in_eval:
                scores = scores.softmax(-1)
            found = scores.cpu().numpy()
            return Result(size, self.classes, self.palette, class_scores=found)
        if self.task == "segmentation":
            labels = sample.pred_sem_seg.data[0].cpu().numpy()
            kind = np.uint8 if len(self.classes) <= 256 else np.int32
            return Result(size, self.classes, self.palette, segmentation=labels.astype(kind))
        if "pred_instances" not in sample:
            raise SetupError(f"{self.name} predicts no instances; expected a detector that does")
        found = sample.pred_instances
        found = found[found.scores >= score]
        found = found[found.scores.argsort(descending=True, stable=True)]
        crops = None
        if "masks" in found:
            masks = found.masks
            is_encoded = isinstance(masks, list)
            each = (decode([m], size)[0] for m in masks) if is_encoded else masks.cpu().numpy()
            crops = tuple(Crop.of(mask) for mask in each)
        return Result(
            size,
            self.classes,
            self.palette,
            boxes=found.bboxes.float().cpu().numpy(),
            scores=found.scores.float().cpu().numpy(),
            labels=found.labels.cpu().numpy(),
            crops=crops,
        )


def network_of(trained: Trained, settings: dict[str, Any] | None = None) -> Any:
    """The network of a trained model, filled; to be called in the scope of its host.

    Args:
        trained: What was read from the disk.
        settings: Of the model, in place of its own.

    Raises:
        SetupError: It is far larger than its weights.
        CheckpointError: The weights are not those of the model.
    """
    with no_larger_than(trained.state) if trained.is_strange else nullcontext():
        network = MODELS.build(ConfigDict(settings or trained.model))
    fill_whole(network, trained.state)
    return network


def device_of(name: str | None) -> torch.device:
    """The device of a name; a GPU, or else the CPU, for None.

    Raises:
        SetupError: There is no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device).cpu()  # none of `meta`
    except (RuntimeError, AssertionError) as error:
        there = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise SetupError(f"device {name!r}; expected {' or '.join(['cpu', *there])}") from error
    return device


def _in_patches(trained: Trained, tile: int) -> tuple[dict[str, Any], list[Any]]:
    """Settings of a model that goes over images in patches; transforms that leave their size."""
    if trained.scope == CLASSIFIER:
        raise SetupError("tile of a classifier; expected a detector or a segmenter with it")
    patch = dict(crop_size=(tile, tile), stride=(tile - tile // OVERLAP,) * 2)
    settings = dict(trained.model)
    if trained.scope == "mmseg":
        settings["test_cfg"] = {**(settings.get("test_cfg") or {}), "mode": "slide", **patch}
    else:
        settings.setdefault("detector", settings["type"])
        settings |= dict(type="hiera_dense.SlidingDetector", slide=patch)
    kept = [step for step in trained.pipeline if not step["type"].endswith(_RESIZING)]
    return settings, kept


def _augmented(trained: Trained, network: Any) -> tuple[Any, list[Any]]:
    """The model with test-time augmentation, and the transforms of that."""
    if trained.tta is None:
        raise SetupError(
            f"tta: the config of {trained.name} has no tta_model and tta_pipeline; expected both"
        )
    settings, pipeline = trained.tta
    return MODELS.build(ConfigDict(settings, module=network)), list(pipeline)


def _split(trained: Trained, pipeline: list[Any]) -> tuple[_Step, _Step]:
    """What reads an image, and what prepares it; without what reads the truth."""
    if trained.steps is not None:
        return _read_rgb, partial(_cropped, *trained.steps)
    steps = [step for step in pipeline if "LoadAnnotations" not in step["type"]]
    if not steps or not steps[0]["type"].endswith("LoadImageFromFile"):
        raise SetupError(
            f"{trained.name}: its test pipeline begins with {steps[:1]}; expected LoadImageFromFile"
        )
    return Compose(steps[:1]), Compose(steps[1:])


def _read_rgb(info: dict[str, Any]) -> dict[str, Any]:
    """An image as `ClassFolders` reads it, in the order of the hosts, BGR."""
    return dict(img=np.asarray(read_image(Path(info["img_path"])))[..., ::-1])


def _cropped(
    shorter: int, mode: str, crop: tuple[int, int], loaded: dict[str, Any]
) -> dict[str, Any]:
    """An image as a classifier's network takes it, RGB."""
    image = cropped(np.ascontiguousarray(loaded["img"][..., ::-1]), shorter, mode, crop)
    return dict(inputs=torch.from_numpy(image.transpose(2, 0, 1).copy()))


def _as_loaded(image: Array) -> dict[str, Any]:
    """An image as the hosts' reader gives it: three channels in the order BGR."""
    if image.ndim == 3 and image.shape[2] == 3:
        image = np.ascontiguousarray(image[..., ::-1])
    size = image.shape[:2]
    return dict(img=image, img_path="", img_id=0, img_shape=size, ori_shape=size)


def _alike(prepared: list[dict[str, Any]]) -> list[list[int]]:
    """Places of images that are of one size after their preparation, and go together unpadded."""
    groups: dict[Any, list[int]] = {}
    for place, item in enumerate(prepared):
        inputs = item["inputs"]
        key = place if isinstance(inputs, list) else tuple(inputs.shape)  # views go alone
        groups.setdefault(key, []).append(place)
    return list(groups.values())
