"""Writes videos: H.264 by PyAV, which browsers play, or MPEG-4 part 2 by OpenCV."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiera_dense.errors import DataError, SetupError
from hiera_dense.writing import whole_file

Array = NDArray[Any]
Write = Callable[[Array], None]  # of pixels, RGB, uint8, shape (H, W, 3)

_USUAL_RATE = Fraction(25)  # frames per second, where a source does not say
_MOST_RATE = 240
# As H.264 numbers them. What plays the file may pass over them; it then assumes BT.601 mostly.
_BT601, _BT709, _LIMITED = 6, 1, 1


def notice() -> str | None:
    """What a user should know about the videos that are written here, if anything."""
    if find_spec("av"):
        return None
    return (
        "videos are written as MPEG-4 part 2, which browsers do not play: PyAV is not installed; "
        "expected `pip install av`"
    )


@contextmanager
def video_file(path: Path, rate: float) -> Iterator[Callable[[Image.Image], None]]:
    """Write an MP4 file that takes its place once all of it is written.

    Args:
        path: Of the file, .mp4.
        rate: Frames per second; a number that cannot be one, such as 0 of a camera, counts as 25.

    Yields:
        A function that takes the next frame. Odd sides get one more px.

    Raises:
        DataError: There was no frame, or one is of another size than those before it.
        SetupError: Neither PyAV nor OpenCV is installed.
        WriteError: The disk is full, or cannot be written to.
    """
    exact = Fraction(rate).limit_denominator(1001) if 0 < rate <= _MOST_RATE else _USUAL_RATE
    encoded = _h264 if find_spec("av") else _mpeg4
    size: tuple[int, int] | None = None
    write: Write | None = None
    with whole_file(path) as part, ExitStack() as stack:

        def take(picture: Image.Image) -> None:
            nonlocal size, write
            odd = picture.height % 2, picture.width % 2
            if size is None or write is None:
                size = picture.size
                even = picture.width + odd[1], picture.height + odd[0]
                write = stack.enter_context(encoded(part, exact, even))
            if picture.size != size:
                raise DataError(
                    f"{path.name}: a frame of {picture.width} x {picture.height} px; expected "
                    f"{size[0]} x {size[1]}, as those before it"
                )
            write(np.pad(np.asarray(picture), [(0, odd[0]), (0, odd[1]), (0, 0)], mode="edge"))

        yield take
        if size is None:
            raise DataError(f"{path.name}: no frames; expected at least one")


@contextmanager
def _h264(path: Path, rate: Fraction, size: tuple[int, int]) -> Iterator[Write]:
    """Encode frames of this width and height with x264."""
    import av

    # The index comes first, so that a page plays the file while it is loaded.
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        context = stream.codec_context
        context.colorspace, context.color_range = _BT601, _LIMITED
        context.color_primaries = context.color_trc = _BT709

        def write(pixels: Array) -> None:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode(None))


@contextmanager
def _mpeg4(path: Path, rate: Fraction, size: tuple[int, int]) -> Iterator[Write]:
    """Encode frames of this width and height with OpenCV, whose wheels have no H.264."""
    try:
        import cv2
    except ImportError:
        raise SetupError("no encoder of videos is installed; expected `pip install av`") from None
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), float(rate), size)
    frames = 0

    def write(pixels: Array) -> None:
        nonlocal frames
        writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        frames += 1

    try:
        yield write
    finally:
        writer.release()
    # It does not say where it could not write.
    if cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) != frames:
        raise OSError("OpenCV could not write all frames")
