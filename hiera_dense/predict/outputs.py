"""Files of results: pictures, videos, and what `--save` asks for.

In the folder of the outputs, for an image `a/photo.jpg` and a video `a/clip.avi`:

    pictures  a/photo.jpg (of .jpg and .jpeg; of others .png), a/clip.mp4
    json      a/photo.json; a/clip.json, with a list of frames: `Result.to_dict`
    coco      predictions.json, of all images; a/clip.json: data sets of COCO, with scores
    txt       labels/a/photo.txt, labels/a/clip/000000.txt, data.yaml: YOLO, without scores
    masks     masks/a/photo.png, masks/a/clip/000000.png, classes.txt. Of a segmentation a pixel is
              its label. Of objects it is the number of its object from 1 on, the best one where
              they overlap, and 0 elsewhere; masks/a/photo.json says what they are.

Frames are counted from 0.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from types import TracebackType
from typing import Self

from hiera_dense.errors import SetupError
from hiera_dense.predict.drawing import write
from hiera_dense.predict.found import Task
from hiera_dense.predict.results import Result
from hiera_dense.predict.savers import SAVERS, Save, Take
from hiera_dense.predict.video import video_file

_AS_JPEG = (".jpg", ".jpeg")


class Outputs:
    """Writes results of images and videos; all is there when the context ends.

    Each file appears whole or not at all. Where the context ends with an error, files of single
    images stay, and one of all images is not written.

    Args:
        folder: Where to.
        save: What to write beside pictures.
        pictures: Whether to write pictures and videos.
        classes: Names of all classes of the model.
        task: Of the model.

    Raises:
        SetupError: There is nothing to save in that form.
    """

    def __init__(
        self,
        folder: Path,
        save: Save,
        pictures: bool,
        classes: tuple[str, ...],
        task: Task,
    ) -> None:
        if save == "txt" and task == "segmentation":
            raise SetupError("txt of a segmenter; expected json, coco or masks: YOLO has objects")
        if save not in ("json", "none") and task == "classification":
            raise SetupError(f"{save} of a classifier; expected json or none: it has no places")
        self.folder = folder
        self.pictures = pictures
        self._saver = SAVERS[save](folder, classes)
        self._taken = {"predictions"}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._saver.start(self._stack)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def image(self, result: Result, name: str) -> None:
        """Write what was found in one image.

        Args:
            result: What was found.
            name: The path of the image from the folder of all inputs on, such as `a/photo.jpg`.

        Raises:
            DataError: There is no image to draw on.
            SetupError: The picture would replace the image; a model without masks has none.
            WriteError: The disk is full, or cannot be written to.
        """
        stem, suffix = self._place(name), PurePath(name).suffix
        if self.pictures:
            suffix = suffix if suffix.lower() in _AS_JPEG else ".png"
            write(result.draw(), self._not_input(f"{stem}{suffix}", result))
        self._saver.image(result, stem, name)

    @contextmanager
    def video(self, name: str, rate: float) -> Iterator[Take]:
        """Write what was found in the frames of a video.

        Args:
            name: Its path, as of an image; of a camera or a stream any name.
            rate: Frames per second.

        Yields:
            A function that takes the result of the next frame.

        Raises:
            DataError: There was no frame, or they are of several sizes.
            SetupError: As of an image; or no encoder is installed.
            WriteError: The disk is full, or cannot be written to.
        """
        stem = self._place(name)
        with ExitStack() as stack:
            draw = None
            if self.pictures:
                draw = stack.enter_context(video_file(self.folder / f"{stem}.mp4", rate))
            save = self._saver.video(stem, name, rate, stack)

            def take(result: Result) -> None:
                if draw:
                    self._not_input(f"{stem}.mp4", result)
                    draw(result.draw(steady=True))
                save(result)

            yield take

    def _place(self, name: str) -> str:
        """Where the files of an input go, without suffix; no other input has the same."""
        path = PurePath(name)
        parts = [part for part in path.parts if part not in (path.anchor, "..")]
        whole = PurePath(*parts or ["input"])
        free = whole.with_suffix("").as_posix()
        number = 1
        while free.lower() in self._taken:
            free = whole.as_posix() + (f"_{number}" if number > 1 else "")
            number += 1
        self._taken.add(free.lower())
        return free

    def _not_input(self, place: str, result: Result) -> Path:
        path = self.folder / place
        source = Path(result.path) if result.path else None
        if source and source.exists() and path.exists() and path.samefile(source):
            raise SetupError(f"{path}: its picture would replace it; expected another folder")
        return path
