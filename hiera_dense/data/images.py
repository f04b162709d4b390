"""Image files: which there are in a folder, and what is in one."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

_NO_IMAGES = {"MPEG", "HDF5", "GRIB", "BUFR", "WMF", "EPS"}
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def readable_suffixes() -> tuple[str, ...]:
    """The suffixes of the image formats that Pillow opens: no videos, containers or programs."""
    Image.init()
    known = Image.registered_extensions().items()
    return tuple(s for s, kind in known if kind in Image.OPEN and kind not in _NO_IMAGES)


def find_images(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """The images below a folder, linked folders too, sorted.

    What is hidden does not count, nor what is there but no file: a pipe would be waited for.
    """
    found: list[str] = []
    entered: set[str] = set()
    places = [str(folder)]
    while places:
        place = places.pop()
        if (real := os.path.realpath(place)) in entered:  # a link that leads back
            continue
        entered.add(real)
        try:
            entries = list(os.scandir(place))
        except OSError:  # not there, or not to be read
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if os.path.isdir(entry.path):  # not entry.is_dir, which a link to itself makes fail
                places.append(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in suffixes and _may_be_file(entry):
                found.append(entry.path)
    return [Path(path) for path in sorted(found)]


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file, or a link to nothing, which whoever reads it will say."""
    return os.path.isfile(entry.path) or (entry.is_symlink() and not os.path.exists(entry.path))


def class_names(folder: Path) -> list[str]:
    """The folders in a folder, sorted by name. What is hidden does not count."""
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def read_image(path: Path) -> Image.Image:
    """An image as RGB, rotated upright; 16-bit images keep their upper 8 bits.

    Raises:
        OSError: The file is damaged, or no image; whatever Pillow says.
    """
    try:
        with Image.open(path) as image:
            return upright_rgb(image)
    except Exception as error:  # whatever a damaged file makes a parser say
        raise OSError(f"{path}: {error}") from None


def upright_rgb(image: Image.Image) -> Image.Image:
    """An opened image as RGB, rotated upright; 16-bit images keep their upper 8 bits."""
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        pixels = np.asarray(upright)
        deep = upright.mode != "I" or pixels.max() > 255
        pixels = pixels >> 8 if deep else pixels
        upright = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return upright.convert("RGB")
