"""The page of a trained model: drop an image or a video, and see what the model finds.

It needs gradio, and no torch: the predictor may be of any engine.
"""

import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from PIL import Image

from hiera_dense.data.images import find_images, read_image
from hiera_dense.errors import InputError
from hiera_dense.predict.predictor import SCORE
from hiera_dense.predict.results import Result
from hiera_dense.serve import tables
from hiera_dense.serve.cached import Results, only
from hiera_dense.serve.controls import EMPTY, as_sentence, chosen, controls, path_of
from hiera_dense.serve.turns import Busy, Turns
from hiera_dense.serve.uploads import Limits
from hiera_dense.serve.video_tab import video_tab

_EXAMPLES = 8

CSS = (
    tables.CSS
    + """
.gradio-container { width: 100% !important; max-width: 1180px !important; min-width: 0 !important;
  margin: 0 auto !important; }
.heading h1 { font-size: 1.4rem; font-weight: 600; margin: 0.5rem 0 0; overflow-wrap: anywhere; }
.heading p { color: var(--body-text-color-subdued); margin: 0.15rem 0 0; }
.status p { margin: 0; min-height: 1.5em; overflow-wrap: anywhere; }
/* Trimming would load a program from another server. */
button[title="Trim video to selection"], button[title="Reset video to initial value"] {
  display: none; }
@media (max-width: 680px) {  /* the result comes before the settings */
  .pair > .column:first-child { display: contents; }
  .pair > .column:first-child > * { order: 0; flex: 1 1 100%; }
  .pair > .column:last-child { order: 1; }
  .pair > .column:first-child > :not(:first-child) { order: 2; }
}
"""
)


def theme() -> Any:
    """Quiet colours, and fonts of the reader's own machine."""
    import gradio

    return gradio.themes.Default(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )


def build(
    predictor: Any,
    *,
    folder: Path,
    score: float = SCORE,
    limits: Limits | None = None,
    turns: Turns | None = None,
    examples: Path | None = None,
    delete_cache: tuple[int, int] | None = None,
) -> Any:
    """The page, as gradio's `Blocks`.

    Args:
        predictor: As for `server.make_app`.
        folder: Where uploads and pictures lie.
        score: Where the slider stands.
        limits: What is taken.
        turns: What others share the network by.
        examples: A folder; its first images are offered.
        delete_cache: How often gradio removes files, and of which age, s.
    """
    import gradio as gr

    limits, turns = limits or Limits(), turns or Turns()
    with gr.Blocks(title=tables.name_of(predictor), delete_cache=delete_cache) as blocks:
        gr.HTML(tables.heading_of(predictor), elem_classes="heading")
        with gr.Tab("Image"):
            _image_tab(predictor, folder, score, limits, turns, examples)
        with gr.Tab("Video"):
            video_tab(predictor, folder, score, limits, turns)
        with gr.Accordion("From a program", open=False):
            line = gr.Code(language="shell", interactive=False, show_label=False)
        command = "curl -F image=@photo.jpg ${location.origin}/predict"
        blocks.load(None, None, line, js=f"() => `{command}`", api_visibility="private")
    blocks.queue(max_size=64, default_concurrency_limit=4, api_open=False)
    return blocks


def _image_tab(
    predictor: Any,
    folder: Path,
    score: float,
    limits: Limits,
    turns: Turns,
    examples: Path | None,
) -> None:
    import gradio as gr

    results = Results(predictor, limits, turns)

    def show(path: str | None, score: float, classes: Sequence[str]) -> tuple[Any, ...]:
        if path is None:
            return _without_result(EMPTY)
        try:
            result = only(results.of(path), score, chosen(classes, predictor))
        except (InputError, Busy, CancelledError) as error:
            return _without_result(as_sentence(error))
        picture, file = _written(result, folder, Path(path).stem)
        saved = [gr.update(value=path, visible=True) for path in (picture, file)]
        return picture, tables.sentence_of(result), tables.table_of(result), *saved

    with gr.Row(elem_classes="pair"):
        with gr.Column(min_width=300):
            image = gr.Image(
                type="filepath",
                sources=["upload", "clipboard", "webcam"],
                label=f"Image, up to {limits.megabytes:g} MB",
                height=360,
                buttons=["fullscreen"],
            )
            # gradio would decode it before it is measured
            image.preprocess = path_of  # type: ignore[method-assign]
            threshold, switched = controls(predictor, score)
        with gr.Column(min_width=300):
            picture = gr.Image(
                label="Result",
                show_label=False,  # it would hide a corner
                interactive=False,
                buttons=["fullscreen"],
                height=360,
            )
            status = gr.Markdown(EMPTY, elem_classes="status")
            table = gr.HTML()
            with gr.Row():
                save_picture = gr.DownloadButton("Save picture", visible=False, size="sm")
                save_json = gr.DownloadButton("Save JSON", visible=False, size="sm")
    if examples is not None and (offered := _thumbnails(examples, folder)):
        gr.Examples(offered, image, label="Examples")
    gr.on(
        [image.change, threshold.change, switched.change],
        show,
        [image, threshold, switched],
        [picture, status, table, save_picture, save_json],
        trigger_mode="always_last",
        show_progress="minimal",
        show_progress_on=[status],
        api_visibility="private",
    )


def _without_result(sentence: str) -> tuple[Any, ...]:
    import gradio as gr

    hidden = gr.update(value=None, visible=False)
    return None, sentence, "", hidden, hidden


def _written(result: Result, folder: Path, stem: str) -> tuple[str, str]:
    """A picture and a JSON file of a result, in a folder of their own."""
    place = Path(tempfile.mkdtemp(dir=folder))
    picture, file = place / f"{stem}-result.jpg", place / f"{stem}-result.json"
    result.save(picture)
    file.write_text(json.dumps(result.to_dict()))
    return str(picture), str(file)


def _thumbnails(examples: Path, folder: Path) -> list[str]:
    """The first images of a folder, drawn anew: a link in it may lead to any file."""
    place = folder / "examples"
    place.mkdir(exist_ok=True)
    found = []
    for number, path in enumerate(find_images(examples)[:_EXAMPLES]):
        try:
            image = read_image(path)
        except OSError:
            continue
        image.thumbnail((1280, 1280), Image.Resampling.LANCZOS)
        image.save(place / f"{number}-{path.stem}.jpg", quality=92)
        found.append(str(place / f"{number}-{path.stem}.jpg"))
    return found
