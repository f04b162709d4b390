"""Images and videos that strangers send: measured before they are decoded."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from hiera_dense.data.images import upright_rgb
from hiera_dense.errors import DataError
from hiera_dense.predict.found import Array
from hiera_dense.predict.inputs import Frames, Video, opened

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_IMAGES = "JPEG, PNG, WebP, BMP, TIFF or GIF"
_VIDEOS = "MP4, MOV, WebM, MKV or AVI"
_WIDTH_HEIGHT = (3, 4)  # cv2.CAP_PROP_FRAME_WIDTH and _HEIGHT
_MEGABYTE = 2**20  # bytes; gradio counts so too


class TooLarge(DataError):
    """An upload is beyond a limit of the server."""


@dataclass(frozen=True)
class Limits:
    """What the server takes.

    Args:
        megabytes: Of a file, as it is sent.
        megapixels: Of an image, or of one frame of a video.
        frames: Of a video.
    """

    megabytes: float = 20.0
    megapixels: float = 50.0
    frames: int = 1500

    @property
    def bytes(self) -> int:
        """The size of a file, in bytes."""
        return int(self.megabytes * _MEGABYTE)

    def check_bytes(self, size: int) -> None:
        """Raises TooLarge for a file of more bytes."""
        if size > self.bytes:
            raise TooLarge(
                f"the file has more than {self.megabytes:g} MB; expected at most that many"
            )

    def check_pixels(self, width: int, height: int) -> None:
        """Raises TooLarge for an image of more pixels."""
        if width * height > self.megapixels * 1e6:
            raise TooLarge(
                f"the image has {width} x {height} px; expected at most {self.megapixels:g} "
                "million pixels"
            )


def read_image(content: bytes, limits: Limits) -> Array:
    """The pixels of an image file, RGB, uint8, shape (H, W, 3), rotated upright.

    Its size is read from the header, so a small file that would fill the memory is refused.

    Raises:
        TooLarge: The file or the image is beyond the limits.
        DataError: The file is no image, or a damaged one.
    """
    limits.check_bytes(len(content))
    if not content:
        raise DataError(f"the file is empty; expected an image: {_IMAGES}")
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooLarge(
            f"the image is far too large; expected at most {limits.megapixels:g} million pixels"
        ) from None
    except Exception:  # whatever a hostile header makes a parser say
        raise DataError(f"the file is no image that can be read; expected {_IMAGES}") from None
    with image:
        limits.check_pixels(*image.size)
        try:
            return np.array(upright_rgb(image))
        except Exception:  # whatever damaged pixels make a decoder say
            raise DataError("the image is damaged or cut short; expected a complete file") from None


@contextmanager
def open_video(path: Path, limits: Limits) -> Iterator[Frames]:
    """The frames of a video file.

    Only containers that hold their own pixels are opened: a playlist could name other files.

    Raises:
        TooLarge: It has more bytes, frames or pixels than the limits allow.
        DataError: The file is no video.
    """
    limits.check_bytes(path.stat().st_size)
    sentence = f"the file is no video that can be read; expected {_VIDEOS}"
    if not _is_container(path):
        raise DataError(sentence)
    with ExitStack() as stack:
        try:
            frames = stack.enter_context(opened(Video(str(path), path.name), limits.frames))
        except DataError:  # which names a path of the server
            raise DataError(sentence) from None
        width, height = (int(frames.capture.get(number)) for number in _WIDTH_HEIGHT)
        limits.check_pixels(width, height)
        if frames.expected is not None and frames.expected > limits.frames:
            raise TooLarge(
                f"the video has {frames.expected} frames; expected at most {limits.frames}"
            )
        yield frames


def _is_container(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return (
        head[4:8] == b"ftyp"  # MP4, MOV
        or head[:4] == b"\x1aE\xdf\xa3"  # WebM, MKV
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    )
