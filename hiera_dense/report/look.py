"""A page about a labelled folder of data, before anything is trained on it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiera_dense.data.check import check
from hiera_dense.data.folders import Folder, any_folder
from hiera_dense.data.masks import read_mask
from hiera_dense.errors import DataError, SetupError
from hiera_dense.predict.palette import Colour, colours
from hiera_dense.predict.results import Result
from hiera_dense.report import pictures, plots
from hiera_dense.report.augmented import augment, read_recipe, recipe_for
from hiera_dense.report.data_numbers import Labelled, SplitNumbers, read_split
from hiera_dense.report.pages import PAGE, page_folder, refuse_other, render

_SHEET = 12  # images with truth
_AUGMENTED, _DRAWS = 6, 3
_FEW_SIZES = 8  # of images, which are told in words
_SECONDS = 20.0  # for decoding images while they are checked
_LIMITS = {"small | medium": 32.0, "medium | large": 96.0}  # COCO's, px of a square's side


def write_look(folder: str, config: str | None = None, out: Path = Path("look")) -> Path:
    """Write a page about a folder: numbers, pictures with truth, and what augmentation makes.

    Args:
        folder: In COCO's format or of index masks, as `hiera-dense train --data` takes it.
        config: The recipe whose augmentation is shown; None: one that fits the folder.
        out: The folder of the page. An older page is replaced.

    Returns:
        The page.

    Raises:
        InputError: The folder has no labels, or the recipe is not one for it; or there is something
            else where the page goes.
    """
    refuse_other(out)
    data = any_folder(folder)
    if data["kind"] not in ("coco", "masks"):
        raise DataError(
            f"{data['root']}: a folder for each class; expected COCO's format or index masks, "
            "whose truth can be drawn"
        )
    recipe, refusal = _recipe(data, config)
    config = config or recipe_for(data)
    palette = colours(len(data["classes"]))
    findings = check(data, "some", budget=_SECONDS)
    splits = {"training": data["train"], "validation": data["val"]}
    whole = [read_split(data, split, name) for name, split in splits.items()]
    numbers = [split for split, _ in whole]
    with page_folder(out) as part:
        content = dict(
            title=f"A look at {Path(data['root']).name}",
            root=data["root"],
            is_coco=data["kind"] == "coco",
            errors=[_line(*pair) for pair in findings.errors.items()],
            notes=[_line(*pair) for pair in findings.notes.items()],
            splits=numbers,
            classes=_classes(data, numbers, palette),
            plots=_draw_plots(numbers, part),
            sizes=_sizes(numbers),
            sheet=_draw_sheet(data, *whole[0], palette, part),
            colours=pictures.colours_of(data["classes"], palette, data["kind"] == "masks"),
            recipe=Path(config).stem if config.endswith(".py") else config,
            refusal=refusal,
            draws=[]
            if findings.errors or refusal
            else _draw_augmented(data, recipe, palette, part),
        )
        render(part, "look.html", content)
    return out / PAGE


def _recipe(data: Folder, config: str | None) -> tuple[Any, str | None]:
    """The recipe that is asked for, or one that fits; or why the latter refuses the data."""
    try:
        return read_recipe(data, config or recipe_for(data)), None
    except SetupError as error:
        if config:
            raise
        return None, str(error).removeprefix("--config ")


def _line(kind: str, found: Any) -> str:
    return f"{kind}: {found.total}, first {found[0]}"


def _classes(
    data: Folder, splits: Sequence[SplitNumbers], palette: Sequence[Colour]
) -> list[dict[str, Any]]:
    """Rows of the table of classes, the most frequent of the training split first."""
    train = splits[0]
    counts = train.objects if data["kind"] == "coco" else train.pixels
    total, most = max(sum(counts.values()), 1), max([*counts.values(), 1])
    order = sorted(range(len(data["classes"])), key=lambda label: -counts[label])
    return [
        dict(
            name=data["classes"][label],
            colour=pictures.hexadecimal(palette[label]),
            counts=[split.objects[label] for split in splits],
            images=[split.images[label] for split in splits],
            share=counts[label] / total,
            bar=counts[label] / most,
        )
        for label in order
    ]


def _sizes(splits: Sequence[SplitNumbers]) -> list[str]:
    """How many images there are of each size, if there are few sizes."""
    counts = Counter(size for split in splits for size in split.sizes)
    if len(counts) > _FEW_SIZES:
        return []
    return [f"{w} x {h} px: {n} images" for (w, h), n in counts.most_common()]


def _draw_plots(splits: Sequence[SplitNumbers], folder: Path) -> list[dict[str, str]]:
    """Plots of both splits together."""
    sizes = [size for split in splits for size in split.sizes]
    sides = [area**0.5 for split in splits for area in split.areas if area > 0]
    per_image = [count for split in splits for count in split.per_image]
    found = []
    if len(set(sizes)) > _FEW_SIZES:
        plots.scatter(folder / "images.svg", sizes, "width, px", "height, px")
        longest = np.array(sizes).max(1)
        says = (
            f"The longer side is {np.median(longest):.0f} px in the middle (median), "
            f"{longest.min()} to {longest.max()} px. A recipe resizes all images to its own size."
        )
        found.append(dict(path="images.svg", title="Sizes of images", says=says))
    if sides:
        plots.histogram(
            folder / "objects.svg", sides, "square root of area, px", "objects", _LIMITS
        )
        small = sum(side < 32 for side in sides) / len(sides)
        says = (
            f"{small:.0%} of the objects are small (below 32 x 32 px), where detectors are weak: "
            "train with images that are not made smaller, or in tiles."
        )
        found.append(dict(path="objects.svg", title="Sizes of objects", says=says))
    if per_image:
        plots.histogram(folder / "per-image.svg", per_image, "objects in an image", "images")
        says = (
            f"{np.mean(per_image):.1f} objects in an image on average, {max(per_image)} at most. "
            "More than 100 need a recipe that predicts as many; those for folders do."
        )
        found.append(dict(path="per-image.svg", title="Objects in an image", says=says))
    return found


def _draw_sheet(
    data: Folder,
    numbers: SplitNumbers,
    images: Sequence[Labelled],
    palette: tuple[Colour, ...],
    folder: Path,
) -> list[dict[str, str]]:
    """Images of the training split with their truth, spread evenly over it."""
    places = np.linspace(0, len(images) - 1, min(_SHEET, len(images))).round().astype(int)
    drawn = []
    for number, place in enumerate(places, start=1):
        item = images[place]
        image = pictures.read(item.path)
        if image is None:
            continue
        size = (image.height, image.width)
        if item.mask:
            try:
                mask = read_mask(item.mask)
            except DataError:
                continue
            truth = Result(size, data["classes"], palette, segmentation=mask.clip(0, 255))
            if mask.shape != size:
                continue
        else:
            truth = pictures.objects(
                item.annotations, numbers.labels, size, data["classes"], palette
            )
        name = f"truth-{number}.jpg"
        if pictures.save(truth, image, folder / name):
            drawn.append(dict(path=name, name=item.path.name, says=_says(truth)))
    return drawn


def _says(truth: Result) -> str:
    if truth.segmentation is not None:
        return ""
    return f"{len(truth)} object{'' if len(truth) == 1 else 's'}"


def _draw_augmented(
    data: Folder, recipe: Any, palette: tuple[Colour, ...], folder: Path
) -> list[dict[str, Any]]:
    found = []
    for number, draws in enumerate(augment(data, recipe, palette, _AUGMENTED, _DRAWS), start=1):
        files = []
        for place, drawn in enumerate(draws, start=1):
            name = f"augmented-{number}-{place}.jpg"
            if pictures.save(drawn.truth, drawn.pixels, folder / name):
                files.append(name)
        found.append(dict(files=files, name=draws[0].path.name))
    return found
