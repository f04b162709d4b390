"""What the training pipeline of a recipe makes of images, with their truth."""

import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from hiera_dense.mm.config_file import (
    config_path,
    read_config,
)  # first: without mmengine it says so

# isort: split
import numpy as np
from mmengine.registry import DATASETS, DefaultScope

from hiera_dense.data.folders import BOXES_RECIPE, VARIABLE, Folder
from hiera_dense.errors import InputError, SetupError
from hiera_dense.mm.admitted import HOSTS
from hiera_dense.mm.building import building, message_of
from hiera_dense.predict.found import Array, Crop
from hiera_dense.predict.palette import Colour
from hiera_dense.predict.predictor import shown
from hiera_dense.predict.results import Result

_MASKS_RECIPE = "mask-rcnn-own-data"
_LABELS_RECIPE = "upernet-own-data"


class Drawn(NamedTuple):
    """An image after augmentation: RGB, uint8, shape (H, W, 3), its truth, and its file."""

    pixels: Array
    truth: Result
    path: Path


def recipe_for(folder: Folder) -> str:
    """A recipe that fits a folder."""
    if folder["kind"] == "masks":
        return _LABELS_RECIPE
    return BOXES_RECIPE if folder["without_mask"] else _MASKS_RECIPE


def read_recipe(folder: Folder, config: str) -> Any:
    """The config of a recipe with a folder as its data.

    Raises:
        SetupError: There is no such recipe, or it is none for such a folder.
    """
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = folder["root"]
    try:
        cfg = read_config(config_path(config))
    except InputError as error:
        named = str(error).startswith(config)
        raise SetupError(f"--config {error}" if named else f"--config {config}: {error}") from None
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
    own = cfg.get("own_data")
    if own is None or own.kind != folder["kind"] or cfg.get("default_scope") not in HOSTS:
        kind = "index masks" if folder["kind"] == "masks" else "COCO's format"
        raise SetupError(
            f"--config {config} does not read a folder of {kind}; expected a recipe such as "
            f"{recipe_for(folder)}"
        )
    return cfg


def augment(
    folder: Folder, recipe: Any, palette: tuple[Colour, ...], images: int, draws: int
) -> Iterator[list[Drawn]]:
    """A few images of the training split, each as some iterations of a training would see it.

    Args:
        folder: From `folders`.
        recipe: From `read_recipe`.
        palette: Colours of the classes.
        images: How many, spread evenly over the split.
        draws: How often each.

    Raises:
        SetupError: The data set of the recipe cannot be built, or an image not prepared.
    """
    in_scope = DefaultScope.overwrite_default_scope
    with building(), in_scope(recipe.default_scope), redirect_stdout(StringIO()):
        dataset = DATASETS.build(recipe.train_dataloader.dataset)
        if not len(dataset):
            raise SetupError(f"{folder['root']}: no training image is left by the recipe's filter")
    places = np.linspace(0, len(dataset) - 1, min(images, len(dataset))).round().astype(int)
    for place in places:
        with in_scope(recipe.default_scope):
            drawn = [_draw(dataset, int(place), folder["classes"], palette) for _ in range(draws)]
        yield drawn


def _draw(dataset: Any, place: int, classes: tuple[str, ...], palette: tuple[Colour, ...]) -> Drawn:
    try:
        item = dataset[place]
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes a decoder say
        raise SetupError(
            f"image {place} of the training split is not prepared ({type(error).__name__}: "
            f"{message_of(error)}); expected data that `hiera-dense check-data` finds no error in"
        ) from error
    sample = item["data_samples"]
    pixels = item["inputs"].movedim(0, -1).numpy()
    size = (pixels.shape[0], pixels.shape[1])
    if pixels.shape[2] == 3:  # the hosts read BGR
        pixels = np.ascontiguousarray(pixels[..., ::-1])
    path = Path(str(sample.get("img_path", "")))
    if "gt_sem_seg" in sample:
        labels = sample.gt_sem_seg.data[0].numpy().astype(np.uint8)
        return Drawn(shown(pixels), Result(size, classes, palette, segmentation=labels), path)
    truth = sample.gt_instances
    crops = None
    if "masks" in truth:
        crops = tuple(Crop.of(mask.astype(bool)) for mask in truth.masks.to_ndarray())
    boxes = truth.bboxes
    found = Result(
        size,
        classes,
        palette,
        boxes=getattr(boxes, "tensor", boxes).numpy(),
        scores=np.ones(len(truth), np.float32),
        labels=truth.labels.numpy(),
        crops=crops,
    )
    return Drawn(shown(pixels), found, path)
