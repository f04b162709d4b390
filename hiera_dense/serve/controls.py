"""What both tabs of the page have: settings, and errors as sentences."""

from collections.abc import Sequence
from typing import Any

from hiera_dense.serve.cached import LOWEST

EMPTY = "The result appears here."
_TICKED = 12  # up to so many classes have a box to tick each


def controls(predictor: Any, score: float) -> tuple[Any, Any]:
    """A slider for the score, and what switches classes on and off."""
    import gradio as gr

    names = list(predictor.classes)
    threshold = gr.Slider(
        LOWEST,
        1,
        max(score, LOWEST),
        step=0.01,
        label="Lowest score",
        visible=predictor.task != "segmentation",
        buttons=[],
    )
    if len(names) <= _TICKED:
        return threshold, gr.CheckboxGroup(names, value=names, label="Classes")
    return threshold, gr.Dropdown(names, multiselect=True, label="Classes (none chosen: all)")


def chosen(classes: Sequence[str], predictor: Any) -> Sequence[str]:
    """The classes that are on; a list to choose from is empty at first, and means all."""
    is_list = len(predictor.classes) > _TICKED
    return predictor.classes if is_list and not classes else classes


def as_sentence(error: BaseException) -> str:
    """An error as a sentence that begins with a capital and ends with a full stop."""
    text = str(error) or "the server is stopping"
    return f"{text[:1].upper()}{text[1:]}."


def path_of(payload: Any) -> str | None:
    """Where gradio has laid an upload; `Guard` has seen that it is one."""
    return None if payload is None else str(payload.path)
