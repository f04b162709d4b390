"""What a page says about results, as sentences and tables in HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from hiera_dense.predict.results import Result

_ROWS = 200  # of a table; the JSON has all
_NAMED = 6  # classes that the sentence names

CSS = """
.found { overflow-x: auto; max-height: 26rem; overflow-y: auto; }
.html-container { padding: 0 !important; }
.found tr { border: 0 !important; }
.found table { width: 100%; border-collapse: collapse; font-size: 0.9rem; margin: 0;
  font-variant-numeric: tabular-nums; color: var(--body-text-color); border: 0 !important; }
.found th, .found td { padding: 0.3rem 0.9rem 0.3rem 0 !important; white-space: nowrap;
  border: 0 !important; border-bottom: 1px solid var(--border-color-primary) !important; }
.found th { text-align: left; font-weight: 600; position: sticky; top: 0;
  background: var(--body-background-fill); color: var(--body-text-color-subdued); }
.found th.n, .found td.n { text-align: right; }
.found th:last-child, .found td:last-child { padding-right: 0 !important; }
.found .swatch { display: inline-block; width: 0.75rem; height: 0.75rem; margin-right: 0.5rem;
  border-radius: 2px; border: 1px solid var(--border-color-primary); vertical-align: -1px; }
@media (max-width: 480px) {
  .found table { font-size: 0.75rem; }
  .found th, .found td { padding-right: 0.4rem !important; }
}
.found .more { color: var(--body-text-color-subdued); padding: 0.4rem 0; margin: 0; }
"""


def sentence_of(result: Result) -> str:
    """What was found, in a sentence."""
    if result.segmentation is not None:
        if not result.shares:
            return "None of the chosen classes is in the image."
        (name, share), *_ = result.shares.items()
        few = len(result.shares)
        return f"{_count(few, 'class', 'classes')}; most of the image is {name} ({share:.0%})."
    if not len(result):
        return "No objects found. A lower score or more classes may show some."
    most = sorted(result.counts.items(), key=lambda item: -item[1])
    counts = ", ".join(f"{count} {name}" for name, count in most[:_NAMED])
    others = f", and {len(most) - _NAMED} more classes" if len(most) > _NAMED else ""
    return f"{_count(len(result), 'object', 'objects')}: {counts}{others}."


def table_of(result: Result) -> str:
    """A row for each object, or for each class of a segmentation; empty without any."""
    colours = dict(zip(result.classes, result.palette, strict=True))
    if result.segmentation is not None:
        shares = [(name, _percent(share)) for name, share in result.shares.items()]
        return _table(("Class", "Share of pixels"), shares, colours)
    columns = ("Class", "Score", "Left", "Top", "Right", "Bottom", "Area")
    rows = [
        (name, f"{score:.2f}", *(f"{side:.0f}" for side in box))
        for name, score, box in zip(result.names, result.scores, result.boxes, strict=True)
    ]
    if result.crops is None:
        return _table(columns[:-1], rows, colours)
    areas = [f"{int(crop.pixels.sum()):,}" for crop in result.crops]
    return _table(columns, [(*r, a) for r, a in zip(rows, areas, strict=True)], colours)


class Tally:
    """What a video showed: for each class the frames with it, and the most at one time."""

    def __init__(self, classes: Sequence[str], palette: Sequence[tuple[int, int, int]]) -> None:
        self._colours = dict(zip(classes, palette, strict=True))
        self._frames = 0
        self._seen: dict[str, list[float]] = {}
        self._has_objects = True

    def add(self, result: Result) -> None:
        """Count one frame."""
        self._frames += 1
        self._has_objects = result.segmentation is None
        found: Mapping[str, float] = result.counts if self._has_objects else result.shares
        for name, much in found.items():
            self._seen.setdefault(name, []).append(much)

    def table(self) -> str:
        """A row for each class, the most frequent first."""
        rows = [
            (
                name,
                f"{len(much)} of {self._frames}",
                f"{max(much):.0f}" if self._has_objects else _percent(max(much)),
            )
            for name, much in sorted(self._seen.items(), key=lambda item: -len(item[1]))
        ]
        most = "Most at a time" if self._has_objects else "Largest share"
        return _table(("Class", "Frames", most), rows, self._colours)


def name_of(predictor: Any) -> str:
    """The model's file and its folder; where these are is nobody's business."""
    return "/".join(str(predictor.name).replace("\\", "/").split("/")[-2:])


def heading_of(predictor: Any) -> str:
    """The title of the page, in Markdown."""
    number = len(predictor.classes)
    what = (
        f"Gives each pixel one of {number} classes."
        if predictor.task == "segmentation"
        else f"Finds objects of {_count(number, 'class', 'classes')}."
    )
    return (
        f"<h1>{escape(name_of(predictor))}</h1><p>{what} Uploads are deleted within 20 minutes.</p>"
    )


def _table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    colours: Mapping[str, tuple[int, int, int]],
) -> str:
    if not rows:
        return ""
    heads = [f"<th class='{'n' if i else ''}'>{name}</th>" for i, name in enumerate(columns)]
    lines = []
    for name, *values in rows[:_ROWS]:
        red, green, blue = colours[name]
        swatch = f"<span class='swatch' style='background: rgb({red}, {green}, {blue})'></span>"
        cells = "".join(f"<td class='n'>{value}</td>" for value in values)
        lines.append(f"<tr><td>{swatch}{escape(name)}</td>{cells}</tr>")
    left = len(rows) - _ROWS
    more = f"<p class='more'>{left} more in the JSON file</p>" if left > 0 else ""
    head = f"<thead><tr>{''.join(heads)}</tr></thead>"
    body = f"<tbody>{''.join(lines)}</tbody>"
    return f"<div class='found'><table>{head}{body}</table>{more}</div>"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"
