"""A page about a training: its curves, and what the trained model does on its validation data."""

from pathlib import Path
from typing import Any

from hiera_dense.errors import SetupError
from hiera_dense.mm.admitted import HOSTS
from hiera_dense.mm.resume import last_whole_checkpoint
from hiera_dense.mm.trained import read_trained
from hiera_dense.report.curves import draw_curves
from hiera_dense.report.evaluation import Labels, Objects, evaluate_run
from hiera_dense.report.history import read_history
from hiera_dense.report.labels import draw_labels
from hiera_dense.report.objects import draw_objects
from hiera_dense.report.pages import PAGE, page_folder, refuse_other, render
from hiera_dense.report.pictures import colours_of
from hiera_dense.report.record import read_settings, validation_of

FOLDER = "report"

# What each kind of mistake is, and what helps.
_MISTAKES = {
    "classification": (
        "The place is right, the class is wrong.",
        "Look below for what is taken for what. Mend labels of these classes; add examples.",
    ),
    "localisation": (
        "The class is right, but the object is badly covered: IoU 0.1 to 0.5.",
        "Train longer or with larger images. Outlines in the labels may be rough.",
    ),
    "both": (
        "Wrong class, and badly covered.",
        "As for both of the above.",
    ),
    "duplicate": (
        "A second detection of an object that was already found.",
        "Train longer; use a higher --score.",
    ),
    "background": (
        "There is no labelled object.",
        "Look at the worst images: are labels missing? Else add images without objects, and use "
        "a higher --score.",
    ),
    "missed": (
        "The object is not found at all, not even as something else.",
        "Use a lower --score. Add examples like it; for small objects train with larger images.",
    ),
}


def write_report(
    run: Path,
    checkpoint: Path | None = None,
    data: str | None = None,
    out: Path | None = None,
    device: str | None = None,
) -> Path:
    """Write a page about a training.

    The model goes over its validation data once. Of a run without a checkpoint, and of a classifier
    or a masked autoencoder, there are curves alone, and the page says so.

    Args:
        run: The folder of a run of `hiera-dense train`.
        checkpoint: Of the run; None: the best one, else the last.
        data: The folder of its data, if they were moved.
        out: The folder of the page; None: `report` in that of the run. An older page is replaced.
        device: As torch names it; None: a GPU, if there is one.

    Returns:
        The page.

    Raises:
        FileNotFoundError: The checkpoint is not there.
        InputError: The folder is none of a run, its checkpoint or data cannot be used, or there is
            something else where the page goes.
    """
    run, out = Path(run), Path(out or Path(run) / FOLDER)
    if not run.is_dir():
        raise SetupError(f"{run}: no such folder; expected that of a run of `hiera-dense train`")
    refuse_other(out)
    history, settings = read_history(run), read_settings(run)
    found, notes = _evaluated(run, settings, checkpoint, data, device)
    if found is None and not history.last:
        raise SetupError(f"{run}: nothing was trained in it yet; expected the folder of a run")
    with page_folder(out) as folder:
        content: dict[str, Any] = dict(
            title=f"Training report: {run.resolve().name}",
            about=_about(run, found, data or (settings.get("own_data") or {}).get("root")),
            notes=notes,
            curves=draw_curves(history, folder),
            objects=draw_objects(found, folder) if isinstance(found, Objects) else None,
            labels=draw_labels(found, folder) if isinstance(found, Labels) else None,
            mistakes=_MISTAKES,
            colours=_colours(found),
        )
        render(folder, "run.html", content | dict(facts=_facts(content)))
    for note in notes:
        print(f"note: {note}")
    return out / PAGE


def _evaluated(
    run: Path,
    settings: dict[str, Any],
    checkpoint: Path | None,
    data: str | None,
    device: str | None,
) -> tuple[Objects | Labels | None, list[str]]:
    """What the model does on its validation data; None, and why, where that is not known."""
    if settings.get("default_scope") not in HOSTS:
        note = (
            "Curves alone: the run is that of a classifier or a masked autoencoder, which has no "
        )
        return None, [note + "objects or classes of pixels to look at."]
    is_saved = any(run.glob("best_*.pth")) or last_whole_checkpoint(run, tell=True) is not None
    if checkpoint is None and not is_saved:
        note = f"Curves alone: there is no checkpoint in {run}. `hiera-dense report RUN "
        return None, [note + "--checkpoint FILE` takes one that is elsewhere."]
    validation = validation_of(run, settings, data)
    trained = read_trained(checkpoint or run)
    if trained.scope != validation.scope:
        raise SetupError(
            f"{trained.name}: a model of {trained.scope}; expected one of {validation.scope}, as "
            f"the run in {run}"
        )
    return evaluate_run(trained, validation, device), []


def _about(run: Path, found: Objects | Labels | None, data: str | None) -> str:
    parts = [f"Run {run.resolve()}"]
    if found is not None:
        parts.append(f"checkpoint {Path(found.model.name).name}")
    if data:
        parts.append(f"data {data}")
    return ", ".join(parts)


def _colours(found: Objects | Labels | None) -> list[dict[str, str]]:
    if found is None:
        return []
    return colours_of(found.model.classes, found.model.palette, isinstance(found, Labels))


def _facts(content: dict[str, Any]) -> list[dict[str, str]]:
    """The few numbers at the top of the page."""
    facts: list[tuple[str, str]] = []
    if objects := content["objects"]:
        if objects["ap"] is not None:
            facts.append((f"{100 * objects['ap']:.1f}", f"{objects['kind']} AP, of 100"))
            facts.append((f"{100 * objects['ap50']:.1f}", f"{objects['kind']} AP50, of 100"))
        facts.append((str(objects["images"]), "validation images"))
        facts.append((str(objects["objects"]), "objects in them"))
    if labels := content["labels"]:
        known = {name: labels["totals"].get(name) for name in ("mIoU", "aAcc")}
        facts += [(f"{v:.1f}", f"{name}, of 100") for name, v in known.items() if v is not None]
        facts.append((str(labels["images"]), "validation images"))
    if last := content["curves"]["last"]:
        facts.append((f"{last:,}".replace(",", " "), "iterations trained"))
    return [dict(value=value, name=name) for value, name in facts]
