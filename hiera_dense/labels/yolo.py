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
from hiera_dense.errors import DataError, shown
from hiera_dense.labels.export import Export, Object, Picture, Size, Tally, split_named
from hiera_dense.labels.files import Images, frame_of, is_there, names_in, number, read_text
from hiera_dense.labels.yolo_settings import (
    NAME_FILES,
    read_keypoints,
    read_names,
    read_places,
    read_settings,
)

_IMAGES, _LABELS = "images", "labels"
_NO_LABELS = {*NAME_FILES, "train.txt", "val.txt", "valid.txt", "test.txt", "notes.txt"}
_NUMBERED = "class_"  # before the number of a class without a name
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
    settings, yaml = read_settings(folder)
    names = read_names(settings, yaml, folder)
    keypoints = read_keypoints(settings, yaml)
    found = Images([images or folder])
    texts = _texts(folder)
    pictures, used = [], set[Path]()
    for path, split in _images(folder, images, settings, yaml, found, tally):
        file = _label_file(path, folder, images) or _only_text(path, texts, found)
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
    read = {picture.path for picture in pictures}
    for path in found.paths:
        if path not in read:
            tally.lose(f"images that {yaml and yaml.name} does not name", path)
    _lose_texts(texts, used, read, found, folder, tally)
    if not names:
        names = _numbered(pictures)
        for name in names:
            tally.change("classes without a name, which are called by their number", name)
    return Export(pictures, names)


def _objects(
    columns: list[str], size: Size, where: str, names: list[str], keypoints: int, tally: Tally
) -> Iterator[Object]:
    values = [number(text, where) for text in columns]
    said = shown(columns[0], 40)
    if values[0] != int(values[0]) or values[0] < 0:
        raise DataError(f"{where}: class {said}; expected a whole number from 0 on")
    label, known = int(values[0]), len(names)
    if names and label >= known:
        raise DataError(
            f"{where}: class {said}; expected 0 to {known - 1}, since {known} have names"
        )
    name = names[label] if names else f"{_NUMBERED}{label}"
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


def _images(
    folder: Path,
    images: Path | None,
    settings: dict[str, Any],
    yaml: Path | None,
    named: Images,
    tally: Tally,
) -> Iterator[tuple[Path, str | None]]:
    """Every image once, with its split: those that settings name, else all of the folder."""
    seen: set[Path] = set()
    for key in ("train", "val", "valid", "test"):
        for place in read_places(settings, key, yaml):
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
    root = folder.joinpath(*read_places(settings, "path", yaml)[:1])
    bare = place.replace("\\", "/")
    while bare.startswith("../"):  # Roboflow's lead one folder too far up
        bare = bare[3:]
    tried = [root / place, folder / place, folder / bare, folder / Path(bare).name]
    # Darknet's lists are in `data/`, which is the folder itself in an export of CVAT.
    found = next((p for p in tried if is_there(p) and p.resolve() != folder.resolve()), None)
    if found is None and is_there(root / place) and (root / place).resolve() == folder.resolve():
        found = folder
    if found is None:
        tally.lose(f"places of {key} images that are not there", f"{yaml}: {shown(place)}")
        return []
    if found.is_dir():
        return find_images(found)
    paths = []
    for line in names_in(found):
        path = named.named(line)
        if path is None:
            tally.lose("images in lists that are not there", f"{found}: {shown(line)}")
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


def _texts(folder: Path) -> dict[str, list[Path]]:
    """Text files that may hold labels, by their names without suffix."""
    files = (Path(top, name) for top, _, names in os.walk(folder) for name in sorted(names))
    texts: dict[str, list[Path]] = {}
    for path in files:
        if path.suffix == ".txt" and path.name not in _NO_LABELS:
            texts.setdefault(path.stem, []).append(path)
    return texts


def _only_text(image: Path, texts: dict[str, list[Path]], found: Images) -> Path | None:
    """The text file of an image's name in a folder of another name, where there is but one."""
    files = texts.get(image.stem, []) + texts.get(image.name, [])
    return files[0] if len(files) == 1 and found.of_stem(image.stem) else None


def _lose_texts(
    texts: dict[str, list[Path]],
    used: set[Path],
    read: set[Path],
    found: Images,
    folder: Path,
    tally: Tally,
) -> None:
    """Count the text files that were not read, but are called as an image, or are among labels."""
    folders = {path.parent for path in used}
    taken = {name for path in read for name in (path.stem, path.name)}
    others = {name for path in found.paths for name in (path.stem, path.name)} - taken
    for stem, files in texts.items():
        for path in files:
            if path in used:
                continue
            if stem in others:
                tally.lose("label files of images that are not named", path)
            elif path.parent in folders or _LABELS in path.relative_to(folder).parts[:-1]:
                tally.lose("label files without an image", path)
            elif stem in taken:
                tally.lose("further text files of the name of an image", path)


def _numbered(pictures: list[Picture]) -> list[str]:
    """The classes that objects have where none has a name, in the order of their numbers."""
    used = {thing.label for picture in pictures for thing in picture.objects}
    return sorted(used, key=lambda name: int(name.removeprefix(_NUMBERED)))
