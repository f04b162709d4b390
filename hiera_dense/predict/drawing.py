"""Pictures of results: objects with masks, boxes and labels; classes of pixels or the image."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hiera_dense.data.images import read_image
from hiera_dense.errors import DataError, SetupError, shown
from hiera_dense.predict.found import Array, Crop, Found
from hiera_dense.predict.legend import with_legend
from hiera_dense.predict.lettering import Labels, font_for
from hiera_dense.predict.palette import Colour
from hiera_dense.writing import whole_file

_INSIDE, _EDGE = 105, 255  # of 255: opacity of a mask and of its contour
UNTINTED = ("background", "_background_", "unlabeled", "void")  # classes that stay as they are
_OPTIONS: dict[str, dict[str, Any]] = {  # by format
    "JPEG": dict(quality=92, subsampling=0),  # or letters are blurred
    "PNG": dict(compress_level=3),  # a third of the time, little more room
}
_MANY = 25  # objects, from which on labels are smaller


def draw(
    result: Found,
    image: Image.Image | Array | None = None,
    *,
    boxes: bool = True,
    labels: bool = True,
    scores: bool = True,
    legend: bool = True,
    steady: bool = False,
) -> Image.Image:
    """A picture of what was found.

    Objects get a translucent mask with a contour, a box and a label; a label that has no place
    beside the others is left out, of the objects with the lowest scores first. A segmentation
    tints the image by class, except background, with a legend below: the picture is higher than
    the image. Of a classifier the legend has the best classes.

    Args:
        result: What was found.
        image: What to draw on, RGB; None: the image of the result, or the file of its path.
        boxes: Draw the boxes of objects.
        labels: Draw names of objects.
        scores: Draw scores beside the names; the truth has none.
        legend: Draw a legend below a segmentation or an image with classes.
        steady: For the frames of a video: the legend is of the same height in each.

    Raises:
        DataError: There is no image, or it is of another size than the result.
    """
    picture = _image_of(result, image)
    scale = (picture.width * picture.height) ** 0.5
    line = round(0.9 + scale / 500)
    font_size = max(10, round(4 + 0.0165 * scale))
    if result.class_scores is not None:
        tints = {label: result.palette[label] for label in result.label_scores}
        return with_legend(picture, result, tints, font_size, steady) if legend else picture
    if result.segmentation is not None:
        tints = {
            label: result.palette[label]
            for label, name in enumerate(result.classes)
            if name.lower() not in UNTINTED
        }
        picture = _tinted(picture, result.segmentation, tints, max(1, line // 2))
        return with_legend(picture, result, tints, font_size, steady) if legend else picture
    colours = [result.palette[label] for label in result.labels]
    crops = result.crops or ()
    # Large ones first, so that small ones in front of them are seen.
    for i in sorted(range(len(crops)), key=lambda i: -crops[i].pixels.size):
        _paste(picture, crops[i], colours[i], line)
    canvas = ImageDraw.Draw(picture)
    if boxes:
        _outline(canvas, result, colours, max(1, line // 2) if crops else line)
    if labels and len(result):
        font_size = max(10, round(font_size * max(0.7, min(1, (_MANY / len(result)) ** 0.25))))
        font = font_for("".join(result.names), font_size)
        plates = Labels(result.size, result.boxes, font)
        for i in np.argsort(-result.scores, kind="stable"):
            name = shown(result.names[i], 40)
            with_score = [f"{name} {result.scores[i]:.2f}"] if scores else []
            plates.place(result.boxes[i], [*with_score, name], colours[i])
        plates.draw(canvas)
    return picture


def write(picture: Image.Image, path: Path) -> None:
    """Write a picture, whole or not at all, in the format of its suffix.

    Raises:
        SetupError: There is no such format.
        WriteError: The disk is full, or cannot be written to.
    """
    Image.init()
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise SetupError(f"{path}: pictures of that suffix; expected .jpg, .png or .webp")
    with whole_file(path) as part:
        picture.save(part, **_OPTIONS.get(kind, {}))


def _image_of(result: Found, image: Image.Image | Array | None) -> Image.Image:
    """A copy of the image to draw on."""
    if image is None:
        image = result.image
    if image is None:
        if result.path is None:
            raise DataError("the result has no image to draw on; expected `image`, or its path")
        try:
            image = read_image(Path(result.path))
        except OSError as error:
            raise DataError(f"{error}; expected the image that the result is of") from None
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture = picture.copy() if picture.mode == "RGB" else picture.convert("RGB")
    if (picture.height, picture.width) != tuple(result.size):
        raise DataError(
            f"an image of {picture.height} x {picture.width} px; expected {result.size[0]} x "
            f"{result.size[1]}, the size of the result"
        )
    return picture


def _outline(canvas: ImageDraw.ImageDraw, result: Found, colours: list[Colour], line: int) -> None:
    height, width = result.size
    for box, colour in zip(result.boxes, colours, strict=True):
        left, top, right, bottom = (round(float(side)) for side in box)
        left, top = max(0, min(left, width - 1)), max(0, min(top, height - 1))
        right, bottom = min(max(right - 1, left), width - 1), min(max(bottom - 1, top), height - 1)
        canvas.rectangle((left, top, right, bottom), outline=colour, width=line)


def _paste(picture: Image.Image, crop: Crop, colour: Colour, line: int) -> None:
    """Tint a mask, with a contour along its inside."""
    if not crop.pixels.size:
        return
    opacity = np.where(crop.pixels, np.uint8(_EDGE), np.uint8(0))
    opacity[_eroded(crop.pixels, line)] = _INSIDE
    picture.paste(colour, (crop.left, crop.top), Image.fromarray(opacity))


def _eroded(mask: Array, width: int) -> Array:
    """A mask without its outermost pixels."""
    kept = np.pad(mask, 1)
    for step in range(width):
        # Crosses and squares by turns come near to a disc.
        middle = kept[1:-1, 1:-1]
        if step % 2:
            rows = kept[:-2] & kept[1:-1] & kept[2:]
            middle = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
        else:
            middle = middle & kept[:-2, 1:-1] & kept[2:, 1:-1] & kept[1:-1, :-2] & kept[1:-1, 2:]
        kept[1:-1, 1:-1] = middle
    inside: Array = kept[1:-1, 1:-1]
    return inside


def _tinted(
    picture: Image.Image, segmentation: Array, tints: dict[int, Colour], line: int
) -> Image.Image:
    """Each pixel tinted by its class, with borders between classes."""
    most = max(int(segmentation.max(initial=0)), *tints, 0) + 1
    colours, opacities = np.zeros((most, 3), np.uint8), np.zeros(most, np.uint8)
    for label, colour in tints.items():
        colours[label], opacities[label] = colour, _INSIDE
    opacity = opacities[segmentation]
    differs = np.zeros(segmentation.shape, bool)
    for axis in (0, 1):
        one, other = _neighbours(segmentation, axis)
        border = one != other
        for side in _neighbours(differs, axis):
            side |= border
    for _ in range(line - 1):
        for axis in (0, 1):
            one, other = _neighbours(differs, axis)
            grown = one | other
            one |= grown
            other |= grown
    opacity[differs & (opacity > 0)] = _EDGE
    return Image.composite(
        Image.fromarray(colours[segmentation]), picture, Image.fromarray(opacity)
    )


def _neighbours(pixels: Array, axis: int) -> tuple[Array, Array]:
    """Views of all pixels but the last, and of those that follow them, along an axis."""
    return (pixels[:-1], pixels[1:]) if axis == 0 else (pixels[:, :-1], pixels[:, 1:])
