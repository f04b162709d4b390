"""`hiera-dense import`: from the export of an annotation tool to a folder of our own layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from hiera_dense import writing
from hiera_dense.data.rle import box_of
from hiera_dense.errors import DataError, SetupError
from hiera_dense.labels.colours import read_colours
from hiera_dense.labels.cvat import read_cvat
from hiera_dense.labels.divide import divide
from hiera_dense.labels.export import Export, Object, Size, Tally
from hiera_dense.labels.label_studio import read_label_studio
from hiera_dense.labels.labelme import read_labelme
from hiera_dense.labels.ready import make_ready
from hiera_dense.labels.shapes import box_around
from hiera_dense.labels.voc import read_voc
from hiera_dense.labels.write import Ready, place_images, write_coco, write_masks
from hiera_dense.labels.yolo import read_yolo

Format = Literal["yolo", "voc", "labelme", "cvat", "label-studio", "colours"]
To = Literal["boxes", "instances", "masks"]
FORMATS: tuple[Format, ...] = get_args(Format)

MARK = "hiera-dense-import.json"
_BACKGROUND = "background"
_READERS: dict[str, Callable[[Path, Path | None, Tally], Export]] = {
    "yolo": read_yolo,
    "labelme": read_labelme,
    "cvat": read_cvat,
    "label-studio": read_label_studio,
}
_RECIPES = {
    "boxes": "faster-rcnn-own-data",
    "instances": "mask-rcnn-own-data",
    "masks": "upernet-own-data",
}


def import_labels(
    kind: Format,
    source: Path,
    out: Path,
    *,
    to: To | None = None,
    images: Path | None = None,
    colours: Path | None = None,
    val: float | None = None,
    seed: int = 0,
) -> list[str]:
    """Read an export and write the folder.

    Args:
        kind: Whose format it is.
        source: The export: a folder, or its one file.
        out: The folder that is written, whole or not at all.
        to: What is written: boxes alone; objects with masks alone; index masks. None: all that
            the export has.
        images: Where the images are, if not in the export.
        colours: The table of colours, if not in the export.
        val: The share of images that are held out; None: the splits of the export.
        seed: Of the chance by which they are chosen.

    Returns:
        What came in and what was lost, a line for each kind.

    Raises:
        DataError: The export cannot be read; the message names file and place.
        SetupError: The settings do not go together, or the folder is in the way.
        WriteError: The folder cannot be written.
    """
    _check(kind, source, out, to, images, colours)
    tally = Tally()
    export = _read(kind, source, images, colours, to, tally)
    ready = make_ready(export, tally)
    as_masks = to == "masks" or bool(export.colours)
    if to and not export.colours:
        _keep(ready, to, tally)
    if as_masks and not export.colours:
        classes = [_BACKGROUND, *(name for name in export.classes if name != _BACKGROUND)]
        export = Export(export.pictures, classes)
    try:
        how = divide([picture for picture, _ in ready], val, seed)
    except DataError as error:  # which what was lost explains
        raise DataError("; ".join([str(error), *tally.lines()])) from None
    with writing.whole_folder(out, MARK) as folder:
        names = place_images(ready, folder)
        if as_masks:
            counts = write_masks(ready, export, folder, names, tally)
        else:
            counts = write_coco(ready, export.classes, folder, names)
        told: dict[str, Any] = dict(format=kind, source=str(source.resolve()), splits=how)
        told |= tally.as_json()
        text = json.dumps(told, indent=1, ensure_ascii=False)
        (folder / MARK).write_text(text + "\n", encoding="utf-8")
    what = "masks" if as_masks else "objects"
    sizes = {split: sum(p.split == split for p, _ in ready) for split in counts}
    parts = [f"{s}: {sizes[s]} images, {counts[s]} {what}" for s in sorted(counts)]
    return [*tally.lines(), f"splits {how}: {'; '.join(parts)}"]


def recipe_for(out: Path, to: To | None) -> str:
    """The recipe that learns what was written."""
    if (out / "classes.txt").is_file():
        return _RECIPES["masks"]
    content = json.loads((out / "annotations" / "instances_train.json").read_text("utf-8"))
    has_masks = all("segmentation" in entry for entry in content["annotations"])
    return _RECIPES[to or ("instances" if has_masks else "boxes")]


def _check(
    kind: Format, source: Path, out: Path, to: To | None, images: Path | None, colours: Path | None
) -> None:
    if source.suffix.lower() == ".zip":
        raise SetupError(f"{source} is packed; expected the folder that it unpacks to")
    if not source.exists() or (source.is_file() and kind not in ("cvat", "label-studio")):
        raise SetupError(f"{source} is not there, or no folder; expected the folder of an export")
    if images is not None and not images.is_dir():
        raise SetupError(f"--images {images}: no such folder; expected that of the images")
    if colours is not None and not colours.is_file():
        raise SetupError(f"--colours {colours}: no such file; expected a table of colours")
    if colours is not None and kind != "colours":
        raise SetupError(f"--colours with {kind}; expected it with the format colours alone")
    if kind == "colours" and to not in (None, "masks"):
        raise SetupError(f"--to {to} with masks of colours; expected masks, which have no objects")
    inside = out.resolve().is_relative_to(source.resolve())
    if inside or source.resolve().is_relative_to(out.resolve()):
        raise SetupError(f"--out {out} and {source} are in each other; expected another folder")
    writing.refuse_other_folder(out.resolve(), MARK)


def _read(
    kind: Format,
    source: Path,
    images: Path | None,
    colours: Path | None,
    to: To | None,
    tally: Tally,
) -> Export:
    if kind == "colours":
        export = read_colours(source, images, tally, colours)
    elif kind == "voc":
        export = read_voc(source, images, tally, masks=to == "masks")
    else:
        export = _READERS[kind](source, images, tally)
    if not export.pictures:
        lost = "; ".join(tally.lines())
        raise DataError(
            f"{source} has no images for its labels{f' ({lost})' if lost else ''}; expected them "
            "in it, or --images FOLDER"
        )
    return export


def _keep(ready: Ready, to: To, tally: Tally) -> None:
    """Keep of each object what is asked for."""
    for picture, frame in ready:
        kept = []
        for thing in picture.objects:
            if to != "boxes" and not thing.has_mask:
                tally.lose("boxes without a mask", thing.where)
                continue
            if to == "boxes" and thing.has_mask:
                tally.change("masks, of which the boxes are kept", thing.where)
                _make_box(thing, frame.upright)
            kept.append(thing)
        picture.objects = kept


def _make_box(thing: Object, size: Size) -> None:
    """Leave of an object its box alone."""
    if thing.counts is not None:
        thing.box = box_of(thing.counts, size[1])
    else:
        thing.box = box_around(np.concatenate(thing.polygons))
    thing.polygons, thing.counts = [], None
