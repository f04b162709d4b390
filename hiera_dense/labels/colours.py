"""Masks in colours: an image beside each image, whose colours are classes by a table."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiera_dense.data.images import find_images
from hiera_dense.data.masks import IGNORE
from hiera_dense.errors import DataError, shown
from hiera_dense.labels.export import Colour, Export, Picture, Tally, split_named
from hiera_dense.labels.files import Images, names_in, read_text

UNKNOWN = "colours that are no class; 255, ignored"
TABLES = ("labelmap.txt", "label_colors.txt", "class_dict.csv", "colors.txt", "colours.txt")
BORDER: Colour = (224, 224, 192)  # of objects, in masks of Pascal VOC
_VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
_IGNORED = ("ignore", "ignored", "void", "border")
_MASKS = ("segmentationclass", "masks", "mask", "labels", "annotations", "label")
_MASK_ENDS = ("annot", "_labels", "_masks", "_label", "_mask")
_IMAGES = ("jpegimages", "images", "image")


def _pascal_colour(number: int) -> Colour:
    """VOC spreads the bits of a number over its colours, the lowest ones first."""
    parts = [0, 0, 0]
    for place in range(8):
        for part in range(3):
            parts[part] |= (number >> part & 1) << (7 - place)
        number >>= 3
    return parts[0], parts[1], parts[2]


PASCAL: dict[Colour, str | None] = {
    **{_pascal_colour(i): name for i, name in enumerate(_VOC_CLASSES)},
    BORDER: None,
}


def read_colours(
    folder: Path, images: Path | None, tally: Tally, table: Path | None = None
) -> Export:
    """Read an export.

    Args:
        folder: With a table of colours, and images and masks in folders of their own; in both, a
            folder for each split if there are splits.
        images: Where the images are, if not in the folder.
        tally: What is counted.
        table: The table, if it is not in the folder.

    Raises:
        DataError: There is no table, or no masks.
    """
    colours = read_table(folder, table)
    if not colours:
        raise DataError(
            f"{folder} has no table of colours; expected {', '.join(TABLES)} in it, or --colours "
            "FILE with a line for each class: name:r,g,b, or r g b name, or name,r,g,b; masks of "
            "class numbers need no import, train reads them"
        )
    of_masks, of_images = _folders(folder)
    masks = {path: path.relative_to(folder) for place in of_masks for path in find_images(place)}
    if not masks:
        expected = "SegmentationClass/, masks/, labels/, labelsRGB/, or trainannot/"
        raise DataError(f"{folder} has no masks; expected {expected}")
    found = Images([images] if images else of_images)
    lists = _lists(folder)
    pictures, used = [], set[Path]()
    for mask, place in masks.items():
        image = _image_of(mask, place, found)
        if image is None:
            tally.lose("masks without an image", mask)
            continue
        used.add(image)
        tally.take("masks of colours", mask)
        names = [part for part in place.parts[:-1] for part in (part, _bare(part))]
        split = lists.get(mask.stem) or next(filter(None, map(split_named, names)), None)
        pictures.append(Picture(image, split, mask=mask))
    for path in found.paths:
        if path not in used:
            tally.lose("images without a mask", path)
    return Export(pictures, [n for n in dict.fromkeys(colours.values()) if n], colours)


def read_table(folder: Path, file: Path | None = None) -> dict[Colour, str | None]:
    """The class of each colour, None for colours that are ignored; empty: there is no table.

    Raises:
        DataError: A line is none of the forms that are known, or two classes have one colour.
    """
    path = file or next((folder / n for n in TABLES if (folder / n).is_file()), None)
    if path is None:
        return {}
    table: dict[Colour, str | None] = {}
    for place, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = _entry(line)
        if entry is None and place == 1:  # the head of a table
            continue
        if entry is None or max(entry[1]) > 255:
            raise DataError(
                f"{path}, line {place}: {shown(line, 60)!r}; expected name:r,g,b, or r g b name, "
                "or name,r,g,b"
            )
        name, colour = entry
        if colour in table:
            raise DataError(
                f"{path}, line {place}: {name} has the colour of {table[colour]}, {colour}; "
                "expected another"
            )
        table[colour] = None if name.lower() in _IGNORED else name
    return table


def rgb(path: Path) -> NDArray[Any]:
    """The colours of a mask, uint8, shape (H, W, 3); those of its palette, if it has one.

    Raises:
        DataError: It cannot be read, or is a JPEG file.
    """
    try:
        with Image.open(path) as image:
            if image.format == "JPEG":
                raise DataError(f"mask {path} is a JPEG file, whose colours differ; expected PNG")
            pixels: NDArray[Any] = np.asarray(image.convert("RGB"))
            return pixels
    except DataError:
        raise
    except Exception as error:  # whatever a damaged file makes a parser say
        raise DataError(f"mask {path} cannot be read ({error}); expected an image") from None


def indexed(path: Path, export: Export, tally: Tally) -> NDArray[Any]:
    """The number of the class of each pixel, uint8, shape (H, W); 255 where it is none."""
    pixels = rgb(path).astype(np.int64)
    numbers = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    place = {name: number for number, name in enumerate(export.classes)}
    values, inverse = np.unique(numbers, return_inverse=True)
    labels = np.full(len(values), IGNORE, np.uint8)
    for i, value in enumerate(values.tolist()):
        colour = (value >> 16, value >> 8 & 255, value & 255)
        if colour not in export.colours:
            count = int((inverse == i).sum())
            tally.lose(UNKNOWN, f"{path}: {colour}, {count} px")
        elif (name := export.colours[colour]) is not None:
            labels[i] = place[name]
    mask: NDArray[Any] = labels[inverse.reshape(numbers.shape)]
    return mask


def _entry(line: str) -> tuple[str, Colour] | None:
    """Name and colour in a line."""
    if match := re.fullmatch(r"(.+?):\s*(\d+),\s*(\d+),\s*(\d+)\s*(:.*)?", line.strip()):
        name, *parts = match.groups()[:4]
    elif match := re.fullmatch(r"(\d+)\s+(\d+)\s+(\d+)\s+(.+)", line.strip()):
        *parts, name = match.groups()
    else:
        row = [field.strip() for field in next(csv.reader([line]), [])]
        if len(row) != 4 or not all(field.isdecimal() for field in row[1:]):
            return None
        name, *parts = row
    red, green, blue = map(int, parts)
    return name.strip(), (red, green, blue)


def _folders(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders of masks, and those of images: by their names."""
    inner = [p for p in (folder, *folder.rglob("*")) if p.is_dir()]
    masks = [p for p in inner if p != folder and _is_of_masks(p.name)]
    others = [p for p in inner if not any(_is_of_masks(n) for n in p.relative_to(folder).parts)]
    named = [p for p in others if p.name.lower() in _IMAGES]
    return masks, named or [p for p in others if p != folder]


def _is_of_masks(name: str) -> bool:
    """`labels`, `trainannot`, and `labelsRGB` or `mask_colour`, which begin with such a word."""
    first = re.split(r"[^A-Za-z]|(?<=[a-z])(?=[A-Z])", name)[0]
    return any(n.lower() in _MASKS for n in (name, first)) or _bare(name) != name


def _bare(name: str) -> str:
    """`train` of `trainannot`."""
    end = next((e for e in _MASK_ENDS if name.lower().endswith(e) and len(name) > len(e)), "")
    return name[: len(name) - len(end)]


def _image_of(mask: Path, place: Path, found: Images) -> Path | None:
    """The image of a mask: of its name, or that without an ending such as `_mask` or `_L`."""
    for stem in dict.fromkeys([mask.stem, _bare(mask.stem), mask.stem.removesuffix("_L")]):
        fits = [path for path in found.paths if path.stem == stem]
        if len(fits) > 1:  # the folders that both have in common tell
            own = {_bare(part) for part in place.parts[:-1]}
            shared = [len(own & set(path.parts)) for path in fits]
            fits = [path for path, n in zip(fits, shared, strict=True) if n == max(shared)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise DataError(f"{mask} is of {fits[0]} or {fits[1]}; expected one of them")
    return None


def _lists(folder: Path) -> dict[str, str]:
    """The split of each image by its stem, from VOC's lists."""
    files = sorted((folder / "ImageSets" / "Segmentation").glob("*.txt"))
    pairs = [(split_named(path.stem), path) for path in files]
    return {Path(line).name: split for split, path in pairs if split for line in names_in(path)}
