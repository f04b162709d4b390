"""The tab for videos: a video that is uploaded comes back with what the model finds in it."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from PIL import Image

from hiera_dense.errors import InputError
from hiera_dense.predict.found import Array
from hiera_dense.predict.results import Result
from hiera_dense.predict.video import notice, video_file
from hiera_dense.serve import tables
from hiera_dense.serve.cached import only
from hiera_dense.serve.controls import EMPTY, as_sentence, chosen, controls, path_of
from hiera_dense.serve.turns import Busy, Turns
from hiera_dense.serve.uploads import Limits, open_video


def video_tab(predictor: Any, folder: Path, score: float, limits: Limits, turns: Turns) -> None:
    """Add the tab's content to the page."""
    import gradio as gr

    def run(path: str | None, score: float, classes: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        if path is None:
            yield None, "Choose a video first.", "", gr.update(visible=False)
            return
        number = 0
        place = Path(tempfile.mkdtemp(dir=folder)) / f"{Path(path).stem}-result"
        tally = tables.Tally(predictor.classes, predictor.palette)
        try:
            with turns.request():
                names = chosen(classes, predictor)
                frames = _annotate(predictor, Path(path), place, score, names, limits, turns)
                for number, length, result in frames:
                    tally.add(result)
                    of = f" of {length}" if length else ""
                    yield gr.skip(), f"Frame {number}{of} ...", gr.skip(), gr.skip()
        except (InputError, Busy, CancelledError) as error:
            yield None, as_sentence(error), "", gr.update(visible=False)
            return
        saved = gr.update(value=str(place.with_suffix(".json")), visible=True)
        yield str(place.with_suffix(".mp4")), f"{number} frames.", tally.table(), saved

    with gr.Row():
        with gr.Column(min_width=300):
            video = gr.Video(
                sources=["upload"],
                label=f"Video, up to {limits.megabytes:g} MB and {limits.frames} frames",
                height=360,
            )
            video.preprocess = path_of
            threshold, switched = controls(predictor, score)
            with gr.Row():
                start = gr.Button("Run", variant="primary")
                stop = gr.Button("Stop")
        with gr.Column(min_width=300):
            result = gr.Video(label="Result", show_label=False, interactive=False, height=360)
            status = gr.Markdown(notice() or EMPTY, elem_classes="status")
            table = gr.HTML()
            save = gr.DownloadButton("Save JSON", visible=False, size="sm")
    running = start.click(
        run,
        [video, threshold, switched],
        [result, status, table, save],
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=[status],
        api_visibility="private",
    )
    stop.click(
        lambda: "Stopped.", None, status, cancels=running, queue=False, api_visibility="private"
    )


def _annotate(
    predictor: Any,
    path: Path,
    place: Path,
    score: float,
    classes: Sequence[str],
    limits: Limits,
    turns: Turns,
) -> Iterator[tuple[int, int, Result]]:
    """Write PLACE.mp4, and PLACE.json with what is in each frame.

    Yields:
        After each frame its number from 1 on, the length of the video, and what was found.

    Raises:
        InputError: The file is no video, has no frames, or is too large.
    """

    def see(frame: Array) -> tuple[Result, Image.Image]:
        result = only(predictor(frame, score=score), score, classes)
        return result, result.draw(frame, steady=True)

    with (
        open_video(path, limits) as frames,
        place.with_suffix(".json").open("w") as file,
        video_file(place.with_suffix(".mp4"), frames.rate) as write,
    ):
        for number, frame in enumerate(frames, 1):
            limits.check_pixels(frame.shape[1], frame.shape[0])
            result, picture = turns.run(see, frame).result()
            write(picture)
            file.write("[" if number == 1 else ",")
            json.dump({"frame": number, **result.to_dict()}, file)
            file.write("\n")
            yield number, max(frames.expected or 0, number), result
        file.write("]\n")
