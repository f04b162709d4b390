"""What is written of results beside pictures: JSON, COCO, YOLO or masks.

Files of images and frames are written as they come, and lists of many results grow on the disk:
memory does not.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiera_dense.errors import SetupError, shown
from hiera_dense.predict.drawing import write
from hiera_dense.predict.formats import to_yolo
from hiera_dense.predict.results import Result
from hiera_dense.writing import whole_file

Save = Literal["json", "coco", "txt", "masks", "none"]
Take = Callable[[Result], None]
Values = dict[str, Any]  # of JSON
Array = NDArray[Any]


class Saver:
    """Saves nothing; the others derive from it.

    Args:
        folder: Where to.
        classes: Names of all classes of the model.
    """

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        self.folder = folder
        self.classes = classes

    def start(self, stack: ExitStack) -> None:
        """Write what all inputs have in common; `stack` closes it after the last input."""

    def image(self, result: Result, stem: str, name: str) -> None:
        """Write what was found in an image.

        Args:
            result: What was found.
            stem: Place for files of this image, without suffix.
            name: Of the image.
        """

    def video(self, stem: str, name: str, rate: float, stack: ExitStack) -> Take:
        """A function that writes what was found in the next frame; `stack` closes what it opens."""
        frame = -1

        def take(result: Result) -> None:
            nonlocal frame
            frame += 1
            self.image(result, f"{stem}/{frame:06d}", name)

        return take


class JsonSaver(Saver):
    """A file for each image, and for each video."""

    def image(self, result: Result, stem: str, name: str) -> None:
        _write_text(self.folder / f"{stem}.json", json.dumps(result.to_dict()))

    def video(self, stem: str, name: str, rate: float, stack: ExitStack) -> Take:
        values = {"video": name, "rate": rate}
        add = stack.enter_context(json_lists(self.folder / f"{stem}.json", values, "frames"))
        frame = -1

        def take(result: Result) -> None:
            nonlocal frame
            frame += 1
            add("frames", {"frame": frame, **result.to_dict()})

        return take


class CocoSaver(Saver):
    """One data set of all images, and one of each video."""

    _add: Callable[[Result, Values], None] | None = None

    def start(self, stack: ExitStack) -> None:
        self._stack = stack

    def image(self, result: Result, stem: str, name: str) -> None:
        if self._add is None:  # of videos alone there is none
            self._add = self._stack.enter_context(self._data_set("predictions"))
        self._add(result, {"file_name": name})

    def video(self, stem: str, name: str, rate: float, stack: ExitStack) -> Take:
        add = stack.enter_context(self._data_set(stem))
        frame = -1

        def take(result: Result) -> None:
            nonlocal frame
            frame += 1
            add(result, {"file_name": name, "frame": frame})

        return take

    @contextmanager
    def _data_set(self, stem: str) -> Iterator[Callable[[Result, Values], None]]:
        images, annotations = 0, 0
        categories = [{"id": i, "name": name} for i, name in enumerate(self.classes, 1)]
        path = self.folder / f"{stem}.json"
        with json_lists(path, {"categories": categories}, "images", "annotations") as add:

            def take(result: Result, source: Values) -> None:
                nonlocal images, annotations
                images += 1
                height, width = result.size
                add("images", {"id": images, **source, "width": width, "height": height})
                for annotation in result.to_coco(images, first_id=annotations + 1):
                    annotations += 1
                    add("annotations", annotation)

            yield take


class YoloSaver(Saver):
    """A label file for each image and frame, and the names of the classes."""

    def start(self, stack: ExitStack) -> None:
        # A text of JSON is one of YAML.
        names = [
            f"  {i}: {json.dumps(name, ensure_ascii=False)}\n"
            for i, name in enumerate(self.classes)
        ]
        _write_text(self.folder / "data.yaml", "".join(["names:\n", *names]))

    def image(self, result: Result, stem: str, name: str) -> None:
        text = "".join(f"{line}\n" for line in to_yolo(result))
        _write_text(self.folder / f"labels/{stem}.txt", text)


class MaskSaver(Saver):
    """An index mask for each image and frame; of objects, what its numbers stand for."""

    def start(self, stack: ExitStack) -> None:
        names = [f"{shown(name, None)}\n" for name in self.classes]
        _write_text(self.folder / "classes.txt", "".join(names))

    def image(self, result: Result, stem: str, name: str) -> None:
        path = self.folder / f"masks/{stem}.png"
        if result.segmentation is not None:
            many = len(self.classes) > 256
            write(
                Image.fromarray(result.segmentation.astype(np.uint16 if many else np.uint8)), path
            )
            return
        if result.crops is None:
            raise SetupError("masks of a model that has none; expected json, coco or txt")
        numbers = np.zeros(result.size, np.uint16 if len(result) > 255 else np.uint8)
        # Best first, so it is on top.
        for i, (top, left, pixels) in reversed(list(enumerate(result.crops, 1))):
            part = numbers[top : top + pixels.shape[0], left : left + pixels.shape[1]]
            part[pixels] = i
        write(Image.fromarray(numbers), path)
        objects = result.to_dict()["objects"]
        table = [{"id": i, **found} for i, found in enumerate(objects, 1)]
        for found in table:
            del found["mask"]
        _write_text(path.with_suffix(".json"), json.dumps(table))


SAVERS: dict[Save, type[Saver]] = {
    "json": JsonSaver,
    "coco": CocoSaver,
    "txt": YoloSaver,
    "masks": MaskSaver,
    "none": Saver,
}


@contextmanager
def json_lists(path: Path, values: Values, *keys: str) -> Iterator[Callable[[str, Values], None]]:
    """Write a JSON file of some values and of lists that grow.

    Args:
        path: Of the file.
        values: What it begins with.
        keys: Of the lists.

    Yields:
        A function that adds an element to the list of a key.

    Raises:
        WriteError: The disk is full, or cannot be written to.
    """
    with whole_file(path) as part, ExitStack() as stack:
        lists: dict[str, IO[str]] = {
            key: stack.enter_context(tempfile.TemporaryFile("w+", dir=part.parent)) for key in keys
        }

        def add(key: str, element: Values) -> None:
            lists[key].write(",\n" if lists[key].tell() else "\n")
            lists[key].write(json.dumps(element))

        yield add
        with part.open("w") as file:
            file.write(json.dumps(values)[:-1])
            for key, elements in lists.items():
                elements.seek(0)
                file.write(f',\n"{key}": [')
                shutil.copyfileobj(elements, file)
                file.write("]")
            file.write("}\n")


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
