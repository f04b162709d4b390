"""YOLO: a text file for each image, with boxes or polygons as shares of its sides.

With `data.yaml` (Ultralytics, Roboflow), `obj.data` (darknet, CVAT), `classes.txt` or
`obj.names`, or without any of them. Labels are for the image as it is seen, upright.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hiera_dense.data.images import find_images
from hiera_dense.errors import DataError, shown, some
from hiera_dense.labels.export import Export, Object, Picture, Size, Tally, split_named
from hiera_dense.labels.files import Images, frame_of, names_in, number, read_text

_IMAGES, _LABELS = "images", "labels"
_NAME_FILES = ("classes.txt", "obj.names")
_NO_LABELS = {*_NAME_FILES, "train.txt", "val.txt", "valid.txt", "test.txt", "notes.txt"}
_BOX, _SCORED = 5, 6  # columns: class, centre, width, height; and a score


def read_yolo(folder: Path, images: Path | None, tally: Tally) -> Export:
    """Read an export.

    Args:
        folder: With `data.yaml`, or with images and labels.
        images: Where the images are, if not in the folder.
        tally: What is counted.

    Raises:
        DataError: A file is not as YOLO has it; the message names the line.
    """
    settings, yaml = _settings(folder)
    names = _names(settings, yaml, folder)
    keypoints = 0
    if shape := settings.get("kpt_shape"):
        keypoints = int(shape[0]) * int(shape[1])
    pictures, used = [], set[Path]()
    for path, split in _images(folder, images, settings, yaml, tally):
        file = _label_file(path, folder, images)
        picture = Picture(path, split)
        pictures.append(picture)
        if file is None:
            tally.change("images without a label file, kept without objects", path)
            continue
        used.add(file)
        try:
            size = frame_of(path).upright
        except DataError:
            continue  # the image is counted as damaged later
        lines = [line for line in enumerate(read_text(file).splitlines(), 1) if line[1].strip()]
        if not lines:
            tally.change("empty label files, whose images are kept without objects", file)
        for place, line in lines:
            where = f"{file}, line {place}"
            picture.objects += _objects(line.split(), size, where, names, keypoints, tally)
    for file in _all_label_files(folder, used):
        tally.lose("label files without an image", file)
    return Export(pictures, names)


def _objects(
    columns: list[str], size: Size, where: str, names: list[str], keypoints: int, tally: Tally
) -> Iterator[Object]:
    values = [number(text, where) for text in columns]
    if values[0] != int(values[0]) or values[0] < 0:
        raise DataError(f"{where}: class {columns[0]}; expected a whole number from 0 on")
    label = int(values[0])
    if names and label >= len(names):
        raise DataError(
            f"{where}: class {label}; expected 0 to {len(names) - 1}, as there are names"
        )
    name = names[label] if names else f"class_{label}"
    scale = np.array(size, float)
    if keypoints and len(values) == _BOX + keypoints:
        tally.lose("keypoints", where)
        values = values[:_BOX]
    if len(values) == _SCORED:
        tally.lose("scores of boxes", where)
        values = values[:_BOX]
    if len(values) == _BOX:
        tally.take("boxes", where)
        centre, sides = np.array(values[1:3]) * scale, np.array(values[3:5]) * scale
        (left, top), (right, bottom) = centre - sides / 2, centre + sides / 2
        yield Object(name, where, (float(left), float(top), float(right), float(bottom)))
    elif len(values) >= 7 and len(values) % 2:
        tally.take("polygons", where)
        yield Object(name, where, polygons=[np.array(values[1:]).reshape(-1, 2) * scale])
    else:
        raise DataError(
            f"{where}: {len(values)} columns; expected class, x, y, width, height, or class and "
            "the x, y of three points or more"
        )


def _settings(folder: Path) -> tuple[dict[str, Any], Path | None]:
    """The content of `data.yaml`, under whatever name, or of darknet's `obj.data`."""
    found = [p for p in sorted(folder.glob("*.y*ml")) if p.suffix.lower() in (".yaml", ".yml")]
    if len(found) > 1 and (usual := [p for p in found if p.stem in ("data", "dataset")]):
        found = usual[:1]
    if len(found) > 1:
        raise DataError(f"{folder} has {some(p.name for p in found)}; expected one data.yaml")
    if found:
        import yaml

        try:
            content = yaml.safe_load(read_text(found[0]))
        except (yaml.YAMLError, RecursionError) as error:
            said = " ".join(str(error).split())
            raise DataError(f"{found[0]} is not YAML: {said}") from None
        if not isinstance(content, dict):
            raise DataError(f"{found[0]} holds no settings; expected train, val and names")
        return content, found[0]
    darknet = folder / "obj.data"
    if darknet.is_file():
        pairs = (line.partition("=") for line in names_in(darknet))
        return {key.strip(): value.strip() for key, _, value in pairs}, darknet
    return {}, None


def _names(settings: dict[str, Any], yaml: Path | None, folder: Path) -> list[str]:
    names = settings.get("names")
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(
                f"{yaml}: names of {some(names)}; expected one for each of 0, 1, 2, ..."
            )
        names = [names[i] for i in range(len(names))]
    if isinstance(names, str):  # a file
        files = [folder / Path(names).name]
    elif names is None:
        files = [folder / name for name in _NAME_FILES]
    else:
        if not isinstance(names, list) or not all(isinstance(n, str | int | float) for n in names):
            raise DataError(f"{yaml}: names {shown(str(names))}; expected a list of names")
        return [str(name) for name in names]
    return next((names_in(file) for file in files if file.is_file()), [])


def _images(
    folder: Path,
    images: Path | None,
    settings: dict[str, Any],
    yaml: Path | None,
    tally: Tally,
) -> Iterator[tuple[Path, str | None]]:
    """Every image once, with its split: those that settings name, else all of the folder."""
    seen: set[Path] = set()
    named = Images([images or folder])
    for key in ("train", "val", "valid", "test"):
        places = settings.get(key)
        for place in places if isinstance(places, list) else [places]:
            if not isinstance(place, str) or not place:
                continue
            for path in _paths_at(place, folder, settings, named, key, yaml, tally):
                if path not in seen:
                    seen.add(path)
                    yield path, split_named(key)
    if seen:
        return
    for path in named.paths:
        names = path.relative_to(images or folder).parts[:-1]
        yield path, next(filter(None, map(split_named, names)), None)


def _paths_at(
    place: str,
    folder: Path,
    settings: dict[str, Any],
    named: Images,
    key: str,
    yaml: Path | None,
    tally: Tally,
) -> list[Path]:
    """The images of a folder, or of a list in a text file, that settings name."""
    root = folder / str(settings.get("path") or "")
    bare = place.replace("\\", "/")
    while bare.startswith("../"):  # Roboflow's lead one folder too far up
        bare = bare[3:]
    tried = [root / place, folder / place, folder / bare, folder / Path(bare).name]
    # Darknet's lists are in `data/`, which is the folder itself in an export of CVAT.
    found = next((p for p in tried if p.exists() and p.resolve() != folder.resolve()), None)
    if found is None and (root / place).resolve() == folder.resolve():
        found = folder
    if found is None:
        tally.lose(f"places of {key} images that are not there", f"{yaml}: {place}")
        return []
    if found.is_dir():
        return find_images(found)
    paths = []
    for line in names_in(found):
        path = named.named(line)
        if path is None:
            tally.lose("images in lists that are not there", f"{found}: {line}")
        else:
            paths.append(path)
    return paths


def _label_file(image: Path, folder: Path, images: Path | None) -> Path | None:
    """`labels` in place of the last `images` in the path; or beside the image."""
    parts = list(image.parts)
    tried = []
    if _IMAGES in parts:
        last = len(parts) - 1 - parts[::-1].index(_IMAGES)
        tried.append(Path(*parts[:last], _LABELS, *parts[last + 1 :]))
    if images is not None:
        tried.append(folder / _LABELS / image.relative_to(images))
        tried.append(folder / image.relative_to(images))
    tried.append(image)
    files = [path.with_name(f"{image.stem}.txt") for path in tried]
    return next((path for path in files if path.is_file() and path.name not in _NO_LABELS), None)


def _all_label_files(folder: Path, used: set[Path]) -> list[Path]:
    """Text files in folders of labels that no image has."""
    folders = {path.parent for path in used}
    files = [Path(top, name) for top, _, names in os.walk(folder) for name in names]
    return sorted(
        path
        for path in files
        if path.suffix == ".txt"
        and path.name not in _NO_LABELS
        and path not in used
        and (path.parent in folders or _LABELS in path.relative_to(folder).parts[:-1])
    )
