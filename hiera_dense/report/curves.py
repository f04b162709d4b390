"""The part of a report on the training: curves of losses, learning rate and metrics."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hiera_dense.report import plots
from hiera_dense.report.history import History, Points

# What parts of a loss are, by the end of their names.
_LOSSES = {
    "loss_rpn_cls": "where objects may be (first stage)",
    "loss_rpn_bbox": "boxes of the first stage",
    "loss_cls": "classes of objects",
    "loss_bbox": "boxes of objects",
    "loss_iou": "overlap of boxes",
    "loss_mask": "masks of objects",
    "loss_dice": "overlap of masks",
    "decode.loss_ce": "classes of pixels",
    "aux.loss_ce": "classes of pixels, by a second head that is used in training only",
}
_KINDS = {"bbox": "box", "segm": "mask"}
_PARTS = {"mAP": "AP", "mAP_50": "AP50", "mAP_75": "AP75"}
_MOST = len(plots.COLOURS) * 2  # curves in a plot


def draw_curves(history: History, folder: Path) -> dict[str, Any]:
    """Draw the plots of a training; what the template shows of them."""
    losses = dict(history.losses)
    found: list[dict[str, str]] = []

    def plot(name: str, title: str, says: str, curves: Mapping[str, Points], y: str) -> None:
        if curves:
            few = dict(list(curves.items())[:_MOST])
            plots.lines(folder / f"{name}.svg", few, "iteration", y)
            found.append(dict(path=f"{name}.svg", title=title, says=says))

    if total := losses.pop("loss", None):
        says = (
            "The sum that training makes small. It should fall, fast at first, and then level off."
        )
        plot("loss", "Loss", says, {"loss": total}, "loss")
    told = [f"{n}: {_LOSSES[n]}" for n in losses if n in _LOSSES]
    says = "The parts of the sum" + (": " + "; ".join(told) if told else "") + "."
    plot("losses", "Parts of the loss", says, losses, "loss")
    for number, (title, curves) in enumerate(_metrics(history.metrics).items(), start=1):
        says = (
            "Measured on the validation images, which are not trained on. Still rising at the end: "
            "train longer. Falling while the loss falls too: it learns the images by heart."
        )
        plot(f"metric-{number}", f"Validation: {title}", says, curves, title)
    says = "How large the steps of training are: usually a rise at the start, then a slow fall."
    plot("rate", "Learning rate", says, history.rates, "learning rate")
    norms = {name: curve for name, curve in history.others.items() if name == "grad_norm"}
    says = "How strongly the weights are pulled. Peaks that grow are a sign of too large a rate."
    plot("gradient", "Norm of the gradient", says, norms, "norm")
    return dict(plots=found, last=history.last)


def _metrics(curves: Mapping[str, Points]) -> dict[str, dict[str, Points]]:
    """Curves of metrics by the plot that they share."""
    shared: dict[str, dict[str, Points]] = {}
    for name, points in curves.items():
        kind, _, part = name.rpartition("/")[2].partition("_")
        if kind in _KINDS:
            if part in _PARTS and any(value >= 0 for _, value in points):  # -1: no such objects
                percent = [(x, 100 * value) for x, value in points]
                shared.setdefault(f"{_KINDS[kind]} AP, %", {})[_PARTS[part]] = percent
        elif name in ("mIoU", "aAcc", "mAcc"):
            shared.setdefault("IoU and accuracy, %", {})[name] = points
        else:
            shared[name] = {name: points}
    return shared
