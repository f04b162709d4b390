"""What an export of YOLO says of itself: where its images are, and what its classes are called."""

import reprlib  # short, also of lists that hold each other without end
from pathlib import Path
from typing import Any

from hiera_dense.errors import DataError, shown, some
from hiera_dense.labels.files import is_there, names_in, read_text

NAME_FILES = ("classes.txt", "obj.names")


def read_settings(folder: Path) -> tuple[dict[str, Any], Path | None]:
    """The content of `data.yaml`, under whatever name, or of darknet's `obj.data`; and its path.

    Raises:
        DataError: It is no such file, or there is more than one.
    """
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
            raise DataError(f"{found[0]} is not YAML: {shown(said, None)}") from None
        if not isinstance(content, dict):
            raise DataError(f"{found[0]} holds no settings; expected train, val and names")
        return content, found[0]
    darknet = folder / "obj.data"
    if darknet.is_file():
        pairs = (line.partition("=") for line in names_in(darknet))
        return {key.strip(): value.strip() for key, _, value in pairs}, darknet
    return {}, None


def read_names(settings: dict[str, Any], yaml: Path | None, folder: Path) -> list[str]:
    """The names of the classes, in the order of their numbers; empty: there are none.

    Raises:
        DataError: They are no list.
    """
    names = settings.get("names") or None
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise DataError(
                f"{yaml}: names of {some(map(repr, names))}; expected one for each of 0, 1, 2, ..."
            )
        names = [names[i] for i in range(len(names))]
    if isinstance(names, str):  # a file
        files = [folder / Path(names).name]
    elif names is None:
        files = [folder / name for name in NAME_FILES]
        files += sorted(folder.rglob("_darknet.labels"))  # of Roboflow, in each split
    else:
        if not isinstance(names, list) or not all(isinstance(n, str | int | float) for n in names):
            raise DataError(f"{yaml}: names {shown(reprlib.repr(names))}; expected a list of names")
        return [str(name) for name in names]
    return next((names_in(file) for file in files if is_there(file)), [])


def read_keypoints(settings: dict[str, Any], yaml: Path | None) -> int:
    """How many numbers the keypoints of an object take; 0: there are none.

    Raises:
        DataError: `kpt_shape` does not tell.
    """
    shape = settings.get("kpt_shape") or [0, 0]
    if not (isinstance(shape, list) and len(shape) == 2 and all(type(n) is int for n in shape)):
        said = shown(reprlib.repr(shape))
        raise DataError(f"{yaml}: kpt_shape {said}; expected [keypoints, 2 or 3]")
    return int(shape[0] * shape[1])


def read_places(settings: dict[str, Any], key: str, yaml: Path | None) -> list[str]:
    """The folders, or lists of images, that a key names.

    Raises:
        DataError: It is neither a text nor a list of texts.
    """
    places = settings.get(key) or []
    places = places if isinstance(places, list) else [places]
    if not all(isinstance(place, str) for place in places):
        said = shown(reprlib.repr(settings[key]))
        raise DataError(f"{yaml}: {key} {said}; expected a folder, a list in a file, or some")
    return [place for place in places if place]
