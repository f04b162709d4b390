"""Find what a trained model knows in images and videos: pictures, and results as files.

MODEL is a run's folder, a checkpoint, a published model (its folder, or USER/NAME on the Hugging
Face hub), or with --weights a config or the name of a recipe. INPUT is
an image, a folder, a glob, a text file with a path on each line, a video, the number of a camera,
or the address of a stream. The data of the training are not needed.
"""

import argparse
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar, get_args

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from hiera_dense.cli.parser import ends_with_a_message, make_parser
from hiera_dense.errors import DataError, SetupError, shown
from hiera_dense.predict.found import Array
from hiera_dense.predict.inputs import ImageFile, Video, find_inputs, opened
from hiera_dense.predict.outputs import Outputs
from hiera_dense.predict.predictor import SCORE, Predictor
from hiera_dense.predict.results import Result
from hiera_dense.predict.savers import Save
from hiera_dense.predict.video import notice

In = TypeVar("In")
Out = TypeVar("Out")


@ends_with_a_message
def main() -> None:
    args = _parser().parse_args()
    if args.frames is not None and args.frames < 1:
        raise SetupError(f"--frames {args.frames}; expected 1 or more")
    inputs = find_inputs(args.inputs)
    model_options = {key: getattr(args, key) for key in _MODEL_OPTIONS}
    predictor = Predictor(args.model, args.weights, **model_options)
    if unknown := set(args.classes or ()) - set(predictor.classes):
        names = ", ".join(predictor.classes)
        raise SetupError(f"--classes {', '.join(sorted(unknown))}; expected of {names}")
    print(predictor)
    images = [item for item in inputs if isinstance(item, ImageFile)]
    videos = [item for item in inputs if isinstance(item, Video)]
    if videos and args.pictures and (told := notice()):
        print(told)
    show = _Window() if args.show else _ignore
    outputs = Outputs(args.out, args.save, args.pictures, predictor.classes, predictor.task)
    problems: list[str] = []
    with outputs:
        problems += _predict_images(predictor, images, args.classes, outputs, show)
        for video in videos:
            problems += _predict_video(predictor, video, args, outputs, show)
    print(f"{args.out}: results of {len(inputs) - len(problems)} of {len(inputs)} inputs")
    if problems:
        sys.exit("\n".join(["passed over:", *(shown(problem, None) for problem in problems)]))


_MODEL_OPTIONS = ("score", "batch", "device", "half", "tile", "tta")


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, "work_dirs/demo/instances data/toy/instances/val --out seen")
    parser.add_argument("model", help="a run's folder, a checkpoint, or a config with --weights")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="images and videos")
    parser.add_argument("--weights", help="a checkpoint, for a config or the name of a recipe")
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), help="folder (default: predictions)"
    )
    parser.add_argument(
        "--score", type=float, default=SCORE, help="least score of objects (default: %(default)s)"
    )
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="of objects to keep")
    parser.add_argument(
        "--save",
        choices=get_args(Save),
        default="json",
        help="results beside the pictures: json, a file for each input (default); coco, one data "
        "set; txt, YOLO's format; masks, as PNG; or none",
    )
    parser.add_argument(
        "--no-pictures", dest="pictures", action="store_false", help="write results alone"
    )
    parser.add_argument("--show", action="store_true", help="show pictures in a window; q ends it")
    parser.add_argument("--frames", type=int, help="of each video, camera or stream, at most")
    parser.add_argument("--batch", type=int, default=1, help="images at once (default: 1)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU, if there is one)")
    parser.add_argument("--half", action="store_true", help="float16, on a GPU")
    parser.add_argument(
        "--tile", type=int, metavar="PX", help="go over large images in patches of this side"
    )
    parser.add_argument(
        "--tta", action="store_true", help="test-time augmentation, if the config has it"
    )
    return parser


def _predict_images(
    predictor: Predictor,
    images: list[ImageFile],
    classes: list[str] | None,
    outputs: Outputs,
    show: Callable[[Result], None],
) -> list[str]:
    """Predict; the next images are read, and the last results written, while the network runs.

    Returns:
        What was wrong with the images that were passed over.
    """
    problems: list[str] = []

    def read(item: ImageFile) -> tuple[ImageFile, Array | DataError]:
        try:
            return item, predictor.pixels(item.path)
        except DataError as error:
            return item, error

    def readable() -> Iterator[tuple[ImageFile, Array]]:
        for item, pixels in _ahead(read, images, 2 * predictor.batch):
            if isinstance(pixels, DataError):
                problems.append(str(pixels))
                progress.advance(task)
            else:
                yield item, pixels

    def results() -> Iterator[tuple[ImageFile, Result]]:
        found = iter(readable())
        while chunk := list(islice(found, predictor.batch)):
            yield from together(chunk)

    def together(chunk: list[tuple[ImageFile, Array]]) -> Iterator[tuple[ImageFile, Result]]:
        try:
            results = predictor([pixels for _, pixels in chunk], classes=classes)
        except SetupError:
            raise
        except Exception as error:  # whatever a network says to an odd image
            if len(chunk) > 1:
                for one in chunk:
                    yield from together([one])
                return
            problems.append(f"{chunk[0][0].path}: {_of_model(error)}")
            progress.advance(task)
            return
        for (item, _), result in zip(chunk, results, strict=True):
            yield item, replace(result, path=str(item.path))

    def write(pair: tuple[ImageFile, Result]) -> Result:
        outputs.image(pair[1], pair[0].name)
        return pair[1]

    with _progress() as progress:
        task = progress.add_task("images", total=len(images), visible=bool(images))
        for result in _ahead(write, results(), 2):
            show(result)
            progress.advance(task)
    return problems


def _predict_video(
    predictor: Predictor,
    video: Video,
    args: argparse.Namespace,
    outputs: Outputs,
    show: Callable[[Result], None],
) -> list[str]:
    """Predict frame by frame, until the video ends or Ctrl-C; what was wrong with it."""
    try:
        with (
            opened(video, args.frames) as frames,
            outputs.video(video.name, frames.rate) as write,
            _progress() as progress,
        ):
            task = progress.add_task(
                escape(shown(video.name)), total=args.frames or frames.expected
            )
            try:
                for result in predictor.stream(frames, classes=args.classes):
                    write(result)
                    show(result)
                    progress.advance(task)
            except KeyboardInterrupt:
                print(f"{shown(video.name)}: stopped after {frames.read} frames")
                return []
    except DataError as error:
        named = str(error).startswith(str(video.source))
        return [str(error) if named else f"{video.source}: {error}"]
    if frames.ended_early:
        return [
            f"{video.source}: ended after {frames.read} of {frames.expected} frames, which are "
            "predicted; expected a video that is whole"
        ]
    return []


def _of_model(error: Exception) -> str:
    if isinstance(error, DataError):  # of its preparation
        return str(error)
    said = " ".join(str(error).split())[:250]
    return f"the model fails ({type(error).__name__}: {said}); expected an image that it can take"


def _ahead(work: Callable[[In], Out], items: Iterable[In], depth: int) -> Iterator[Out]:
    """The results of work in a thread of its own, a few items ahead of who takes them, in order."""
    running: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for item in items:
            running.append(thread.submit(work, item))
            if len(running) > depth:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _progress() -> Progress:
    told = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*told, _Rate(), TimeRemainingColumn(compact=True))


class _Rate(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        """As text."""
        return Text(f"{task.speed:.1f} per s" if task.speed else "")


def _ignore(result: Result) -> None:
    """Show nothing."""


class _Window:
    """A window that shows pictures as they come."""

    def __call__(self, result: Result) -> None:
        import cv2
        import numpy as np

        try:
            cv2.imshow("hiera-dense predict", np.asarray(result.draw())[..., ::-1])
            if cv2.waitKey(1) == ord("q"):
                raise KeyboardInterrupt
        except cv2.error:
            raise SetupError(
                "--show: OpenCV opens no window here; expected a display, and opencv-python "
                "without opencv-python-headless beside it"
            ) from None
