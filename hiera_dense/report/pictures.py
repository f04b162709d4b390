"""Pictures of a page: the truth, what was found, and what augmentation makes of both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from hiera_dense.data.images import read_image
from hiera_dense.errors import DataError
from hiera_dense.predict.drawing import UNTINTED, write
from hiera_dense.predict.found import Array, Crop
from hiera_dense.predict.palette import Colour
from hiera_dense.predict.results import Result

LONGEST = 720  # px of the longer side of a picture
_MOST_LABELS = 8  # objects with a name on the picture; of more, colours tell the class
_MOST_COLOURS = 40


def read(path: Path) -> Image.Image | None:
    """An image to draw on; None where it cannot be read."""
    try:
        return read_image(path)
    except OSError:
        return None


def objects(
    annotations: Sequence[Mapping[str, Any]],
    labels: Mapping[int, int],
    size: tuple[int, int],
    classes: tuple[str, ...],
    palette: tuple[Colour, ...],
) -> Result:
    """Annotations or results of COCO as a result that can be drawn.

    Args:
        annotations: Of one image; crowd regions and categories without a label are left out.
        labels: By category id.
        size: Height and width of the image, px.
        classes: Names of the classes.
        palette: Their colours.
    """
    kept = [a for a in annotations if a["category_id"] in labels and not a.get("iscrowd")]
    boxes = np.array([a["bbox"] for a in kept], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    has_masks = bool(kept) and all(a.get("segmentation") for a in kept)
    return Result(
        size,
        classes,
        palette,
        boxes=boxes,
        scores=np.array([a.get("score", 1) for a in kept], np.float32),
        labels=np.array([labels[a["category_id"]] for a in kept], np.int64),
        crops=tuple(Crop.of(_mask(a["segmentation"], size)) for a in kept) if has_masks else None,
    )


def _mask(segmentation: Any, size: tuple[int, int]) -> Array:
    """A mask of polygons or run-length encoding, bool, shape (H, W)."""
    encoded = segmentation
    if isinstance(segmentation, list):
        encoded = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    elif isinstance(segmentation["counts"], list):
        encoded = coco_mask.frPyObjects(segmentation, *size)
    mask: Array = coco_mask.decode(encoded).astype(bool)
    return mask


def save(result: Result, image: Image.Image | Array, path: Path, scores: bool = False) -> bool:
    """Draw a result and write the picture, made smaller if it is large.

    Pages show the colours of classes beside their pictures, so names are drawn only where they
    cover little, and boxes only where there are no masks.

    Args:
        result: What is drawn.
        image: What it is drawn on, RGB.
        path: The file, .jpg.
        scores: Whether to draw scores: the truth has none.

    Returns:
        Whether there is a picture: an image may be of another size than its annotations say.
    """
    tells = scores or len(result.classes) > 1
    options = dict(
        boxes=result.crops is None,
        labels=tells and len(result) <= _MOST_LABELS,
        scores=scores,
        legend=False,
    )
    try:
        picture = result.draw(image, **options)
    except DataError:
        return False
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    write(picture, path)
    return True


def colours_of(
    classes: Sequence[str], palette: Sequence[Colour], are_pixels: bool
) -> list[dict[str, str]]:
    """Names and colours of classes beside pictures; of pixels, background has none."""
    pairs = zip(classes, palette, strict=True)
    shown = [p for p in pairs if not (are_pixels and p[0].lower() in UNTINTED)]
    return [dict(name=name, colour=hexadecimal(colour)) for name, colour in shown[:_MOST_COLOURS]]


def hexadecimal(colour: Colour) -> str:
    """A colour as HTML has it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
