"""What a user names as inputs: image files, and videos, cameras and streams frame by frame."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hiera_dense.data.images import SUFFIXES, find_images
from hiera_dense.errors import DataError
from hiera_dense.predict.found import Array

VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
LIST = ".txt"
RATE = 25.0  # frames per second, where a source tells none
_PATIENCE = 10_000  # ms, for a stream to answer
_MISSING = 0.02  # share of frames that a container may promise and not have


class ImageFile(NamedTuple):
    """An image.

    Attributes:
        path: Where it is.
        name: What its outputs are called after: its path below the folder of all inputs.
    """

    path: Path
    name: str


class Video(NamedTuple):
    """A video file, a camera by its number, or a stream by its address; `name` as of an image."""

    source: str | int
    name: str


@dataclass
class Frames:
    """The frames of an open video.

    Attributes:
        rate: Frames per second.
        expected: How many it says there are; None for cameras and streams.
        read: How many were read so far.
        last: No more than so many are read; None: all.
    """

    capture: Any
    rate: float
    expected: int | None
    last: int | None = None
    read: int = 0

    def __iter__(self) -> Iterator[Array]:
        """Each frame, RGB, uint8, shape (H, W, 3)."""
        while self.last is None or self.read < self.last:
            is_there, frame = self.capture.read()
            if not is_there:
                return
            self.read += 1
            yield np.ascontiguousarray(frame[..., ::-1])

    @property
    def ended_early(self) -> bool:
        """Whether fewer frames came than were expected, after all that there are were read."""
        if self.expected is None or (self.last is not None and self.read >= self.last):
            return False
        return self.read < self.expected * (1 - _MISSING) - 1


def find_inputs(names: Sequence[str]) -> list[ImageFile | Video]:
    """Images and videos that are named.

    Args:
        names: Each an image or video file; a folder, of which all images and videos are taken; a
            glob; a text file with a path on each line; the number of a camera; or the address of
            a stream.

    Raises:
        DataError: There is no such file, or nothing in it.
    """
    live: list[ImageFile | Video] = []
    streams = 0
    roots: list[Path] = []
    files: list[Path] = []
    for name in names:
        if "://" in name:
            streams += 1
            live.append(Video(name, f"stream{streams}"))
        elif name.isdecimal() and not Path(name).exists():
            live.append(Video(int(name), f"camera{name}"))
        else:
            root, found = _files(name)
            roots.append(root)
            files += found
    together = Path(os.path.commonpath(roots)) if roots else Path()
    found_files: list[ImageFile | Video] = []
    for file in dict.fromkeys(files):
        name = os.path.relpath(file, together)
        is_video = file.suffix.lower() in VIDEOS
        found_files.append(Video(str(file), name) if is_video else ImageFile(file, name))
    return found_files + live


def _files(name: str) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files."""
    path = Path(os.path.expanduser(name))  # which leaves users that are not there
    if path.is_dir():
        found = find_images(path, (*SUFFIXES, *VIDEOS))
        if not found:
            kinds = ", ".join((*SUFFIXES, *VIDEOS))
            raise DataError(f"{path}: no images or videos in it; expected files of {kinds}")
        return _absolute(path), found
    if path.suffix.lower() == LIST and path.is_file():
        return _listed(path)
    if path.is_file():
        return _absolute(path).parent, [path]
    if not path.exists() and has_magic(name):
        found = [Path(p) for p in sorted(glob(os.path.expanduser(name), recursive=True))]
        if found := [p for p in found if p.is_file()]:
            return _parent(found), found
        raise DataError(f"{name}: matches no file; expected a pattern of images")
    problem = "is no file" if path.exists() else "no such file"
    raise DataError(
        f"{name}: {problem}; expected an image, a video, a folder, a glob, a list of paths (.txt), "
        "a camera's number or a stream's address"
    )


def _listed(path: Path) -> tuple[Path, list[Path]]:
    """The files of a list: as they are, or else below the folder of the list."""
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not read ({error}); expected a path on each line") from None
    found = [Path(os.path.expanduser(line)) for line in lines if line]
    if not found:
        raise DataError(f"{path}: empty; expected a path on each line")
    found = [p if p.exists() else path.parent / p for p in found]
    return _parent(found), found


def _parent(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([_absolute(p).parent for p in paths]))


def _absolute(path: Path) -> Path:
    """Without `..`; links stay as they are."""
    return Path(os.path.abspath(path))


@contextmanager
def opened(video: Video, last: int | None = None) -> Iterator[Frames]:
    """Open a video, a camera or a stream.

    Args:
        video: Which.
        last: Read no more than so many frames.

    Raises:
        DataError: It cannot be opened, or has no frame.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is said by us
    import cv2

    if isinstance(video.source, int):
        capture = cv2.VideoCapture(video.source)
        expected = f"camera {video.source}: not there, or in use; expected a camera's number"
    elif "://" in video.source:
        limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
        options = [option for limit in limits for option in (limit, _PATIENCE)]
        capture = cv2.VideoCapture(video.source, cv2.CAP_FFMPEG, options)
        expected = f"{video.source}: no stream that answers; expected rtsp:// or http:// of a video"
    else:
        capture = cv2.VideoCapture(video.source)
        expected = f"{video.source}: not read as a video; expected one that OpenCV's FFmpeg reads"
    try:
        if not capture.isOpened():
            raise DataError(expected)
        rate, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        is_file = isinstance(video.source, str) and "://" not in video.source
        yield Frames(
            capture,
            rate if 0 < rate <= 1000 else RATE,
            count if is_file and count > 0 else None,
            last,
        )
    finally:
        capture.release()
