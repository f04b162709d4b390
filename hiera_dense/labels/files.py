"""Finding and reading the files of an export."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from xml.etree import ElementTree

from PIL import Image

from hiera_dense.data.images import find_images
from hiera_dense.errors import DataError, shown
from hiera_dense.labels.export import Size

Element = ElementTree.Element
_ORIENTATION = 0x112  # in EXIF
_LARGEST_XML = 1 << 30


class Frame(NamedTuple):
    """The size of an image as its file has it, and how it is to be turned: EXIF's, 1 is upright."""

    stored: Size
    orientation: int

    @property
    def upright(self) -> Size:
        width, height = self.stored
        return (height, width) if self.orientation >= 5 else (width, height)


def frame_of(path: Path) -> Frame:
    """Read the header of an image.

    Raises:
        DataError: It is damaged, or no image.
    """
    try:
        with Image.open(path) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
            return Frame(image.size, orientation if orientation in range(2, 9) else 1)
    except Exception as error:  # whatever a damaged file makes a parser say
        raise DataError(f"{path} cannot be read ({shown(str(error))}); expected an image") from None


class Images:
    """The images of a folder, by what labels call them.

    Args:
        folders: Where they are looked for, in the folders in them too.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.paths = list(dict.fromkeys(path for f in folders for path in find_images(f)))
        self._ends: dict[str, list[Path]] = defaultdict(list)
        self._stems: dict[str, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._ends[path.name.lower()].append(path)
            self._stems[path.stem].append(path)

    def named(self, name: str) -> Path | None:
        """The one image whose path ends with a name, or with the longest end of it."""
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part != ".."]
        found = self._ends.get(parts[-1].lower(), []) if parts else []
        for length in range(len(parts), 0, -1):
            end = [part.lower() for part in parts[-length:]]
            fits = [p for p in found if [x.lower() for x in p.parts[-length:]] == end]
            exact = [p for p in fits if list(p.parts[-length:]) == parts[-length:]]
            if len(exact or fits) == 1:
                return (exact or fits)[0]
            if fits:
                raise DataError(
                    f"{name!r} may be {fits[0]} or {fits[1]}; expected one image of that name, or "
                    "labels that tell its folder"
                )
        return None

    def of_stem(self, stem: str) -> Path | None:
        """The one image of a name without suffix."""
        found = self._stems.get(stem, [])
        return found[0] if len(found) == 1 else None


def partners(files: Iterable[Path], images: Iterable[Path]) -> dict[Path, Path]:
    """The file of each image that has one of its name; of several, that in folders of its names.

    Raises:
        DataError: A file may be of two images in two folders.
    """
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_stem[image.stem].append(image)
    near = [
        (-len({*file.parent.parts} & {*image.parent.parts}), image, file)
        for file in files
        for image in by_stem.get(file.stem, [])
    ]
    found: dict[Path, Path] = {}
    owners: dict[Path, tuple[int, Path]] = {}
    for distance, image, file in sorted(near):
        first, owner = owners.get(file, (0, image))
        if first == distance and owner.parent != image.parent and image not in found:
            raise DataError(f"{file} may be of {owner} or {image}; expected names of their own")
        if file not in owners and image not in found:
            found[image] = file
            owners[file] = (distance, image)
    return found


def is_there(path: Path) -> bool:
    """Whether there is a file or folder; of a name that none can have, False."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def only_file(place: Path, kind: str, expected: str) -> Path:
    """The one file of a kind in a folder; or that file, if it is given.

    Args:
        place: The folder or the file.
        kind: The suffix, in lower case and without a dot.
        expected: What the message tells to give.

    Raises:
        DataError: The folder has none, or more than one.
    """
    if place.is_file():
        return place
    files = sorted(place.glob(f"*.{kind}"))
    if len(files) != 1:
        raise DataError(f"{place} has {len(files)} {kind.upper()} files; expected {expected}")
    return files[0]


def read_text(path: Path) -> str:
    """Read text.

    Raises:
        DataError: It is not UTF-8, or cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8; expected text") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); expected a file") from None


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: It is something else.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not JSON: {error}") from None


def read_xml(path: Path) -> Element:
    """Read XML; a file that declares entities is refused, since these may grow without end.

    Raises:
        DataError: It is something else.
    """
    text = read_text(path)
    if "<!ENTITY" in text or len(text) > _LARGEST_XML:
        raise DataError(f"{path} declares entities, or is too large; expected plain XML")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{path} is not XML: {error}") from None


def number(text: Any, where: str) -> float:
    """A finite number.

    Raises:
        DataError: It is none, or is missing; `where` is named.
    """
    if text is None:
        raise DataError(f"{where}: nothing; expected a finite number")
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        value = float("nan")
    # Python reads 1_000 as a number, other tools do not.
    if isinstance(text, bool) or "_" in str(text) or not abs(value) < float("inf"):
        raise DataError(f"{where}: {shown(str(text), 40)!r}; expected a finite number")
    return value


def names_in(path: Path) -> list[str]:
    """The lines of a file of names, without empty ones."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]
