"""Reading images as a training will read them, before it does.

The hosts read with `mmcv.imfrombytes`, which by default is OpenCV's decoder: it does not read all
that Pillow does, follows the EXIF orientation of some formats only, and makes 8 bits of 16.
"""

import os
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from hiera_dense.data.fields import MAX_PIXELS
from hiera_dense.data.findings import Seen
from hiera_dense.data.images import read_image

ORIENTATION = 0x0112  # an EXIF tag; from 5 on, width and height change places
_DARK = 16  # of 255, under which an image is as good as black


class Reader(NamedTuple):
    """How images are read: backend and flag of `mmcv.imfrombytes`; or as `read_image` does."""

    backend: str
    flag: str


HOSTS = Reader("cv2", "color")
PILLOW = Reader("hiera_dense", "color")


def reader_of(dataset: Mapping[str, Any]) -> Reader | None:
    """The reader of a data set of the hosts, from its config, also within others.

    Returns:
        None where its pipeline reads images in a way of its own.
    """
    while "pipeline" not in dataset and isinstance(dataset.get("dataset"), Mapping):
        dataset = dataset["dataset"]
    for step in dataset.get("pipeline", ()):
        if isinstance(step, Mapping) and str(step.get("type")).endswith("LoadImageFromFile"):
            return Reader(step.get("imdecode_backend") or "cv2", step.get("color_type", "color"))
    return None


def see(path: Path, reader: Reader | None) -> Seen:
    """Look at one image; without a reader at its header only."""
    if not path.is_file():
        return Seen(None, "missing images" if not path.exists() else "images that are no files")
    try:
        with Image.open(path) as image:
            kind, mode, size = image.format or "", image.mode, image.size
            turn = image.getexif().get(ORIENTATION, 1)
    except Image.DecompressionBombError:
        kind = f"images of more than {MAX_PIXELS / 1e6:.0f} million pixels; expected tiles of them"
        return Seen(None, kind)
    except Exception:  # whatever a damaged file makes a parser say
        return _without_pillow(path, reader)
    if size[0] * size[1] > MAX_PIXELS:
        kind = f"images of more than {MAX_PIXELS / 1e6:.0f} million pixels; expected tiles of them"
        return Seen(None, kind)
    upright = size[::-1] if turn >= 5 else size
    if reader is None:
        return Seen(upright)
    pixels = _decode(path, reader)
    if pixels is None or not pixels.size:
        return Seen(None, _why(path, kind, mode))
    found = (pixels.shape[1], pixels.shape[0])
    remarks = []
    if turn in range(2, 9) and reader == HOSTS and not turns(kind, turn):
        remarks.append(
            f"{kind} images whose EXIF orientation is not followed when they are read, so that "
            "annotations may be turned against pixels; expected upright pixels"
        )
    if mode.startswith("I;16") and reader == HOSTS:
        dark = "nearly black, of largest value under 16; expected images of 8 bits"
        what = dark if pixels.max() < _DARK else "8 bits, the upper ones"
        remarks.append(f"images of 16 bits, read as {what}")
    return Seen(found, None, tuple(remarks))


@cache
def turns(kind: str, turn: int) -> bool:
    """Whether the hosts' reader turns images of a format as EXIF says, tried on a drawn one."""
    drawn = np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(np.kron(drawn, np.ones((16, 16), np.uint8)))
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    file = BytesIO()
    try:
        image.convert("RGB").save(file, kind, exif=exif)
        with Image.open(file) as written:
            expected = np.asarray(ImageOps.exif_transpose(written).convert("RGB"))
    except Exception:  # a format that Pillow does not write
        return False
    found = _opencv(file.getvalue(), HOSTS.flag)
    if found is None or found.shape != expected.shape:
        return False
    return bool(np.abs(found.astype(int) - expected).mean() < 8)


def _without_pillow(path: Path, reader: Reader | None) -> Seen:
    """An image whose header Pillow does not understand."""
    if reader not in (None, PILLOW) and (pixels := _decode(path, reader)) is not None:
        return Seen((pixels.shape[1], pixels.shape[0]))
    if path.suffix.lower() in (".tif", ".tiff") and (found := _tiff(path)) is not None:
        remark = "TIFF images of many channels, for configs with a reader of their own"
        return Seen(found, None, (remark,) if reader else ())
    return Seen(None, "unreadable images")


def _tiff(path: Path) -> tuple[int, int] | None:
    """Width and height of a TIFF file of many channels, which Pillow and OpenCV do not read."""
    try:
        import tifffile  # mmcv reads such files with it, where it is installed
    except ModuleNotFoundError:
        return None
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            is_other = page.samplesperpixel == 2 or page.samplesperpixel > 4
            return (page.imagewidth, page.imagelength) if is_other else None
    except Exception:  # whatever a damaged file makes a parser say
        return None


def _why(path: Path, kind: str, mode: str) -> str:
    """Why an image with a header is not read."""
    try:
        read_image(path)
    except OSError:
        return "images that are cut short or damaged"
    return f"images that the training does not read ({kind} of mode {mode}); expected PNG or JPEG"


def _decode(path: Path, reader: Reader | None) -> Any:
    """The pixels as the training reads them, None where it cannot."""
    try:
        if reader is None or reader == PILLOW:
            return np.asarray(read_image(path))
        content = path.read_bytes()
        if reader.backend == "cv2":
            return _opencv(content, reader.flag)
        from mmcv import imfrombytes  # slow to import

        return imfrombytes(content, flag=reader.flag, backend=reader.backend)
    except Exception:  # whatever a damaged file makes a decoder say
        return None


def _opencv(content: bytes, flag: str) -> Any:
    """What `mmcv.imfrombytes` does with its usual backend; mmcv itself takes seconds to import."""
    # Read by OpenCV when it is imported, and by the workers of a training too.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    import cv2

    flags = {
        "color": cv2.IMREAD_COLOR,
        "grayscale": cv2.IMREAD_GRAYSCALE,
        "unchanged": cv2.IMREAD_UNCHANGED,
        "color_ignore_orientation": cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_COLOR,
        "grayscale_ignore_orientation": cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_GRAYSCALE,
    }
    if not content:
        return None
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags[flag])
    finally:
        cv2.setLogLevel(level)
