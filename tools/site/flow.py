"""Draws the flowcharts of the documents as SVG, so that a page needs no script to show them."""

from collections.abc import Mapping
from graphlib import TopologicalSorter
from html import escape
from itertools import pairwise
from typing import Any

BOX = (84, 32)  # px
STEP = (124, 56)


def arrows_of(source: str) -> dict[str, list[str]]:
    """Of each box those that it points to, from lines `a --> b --> c` of mermaid."""
    arrows: dict[str, list[str]] = {}
    for line in source.strip().splitlines()[1:]:
        for begin, end in pairwise(line.strip().split(" --> ")):
            arrows.setdefault(begin, []).append(end)
            arrows.setdefault(end, [])
    return arrows


def _places(arrows: Mapping[str, list[str]]) -> dict[str, tuple[int, int]]:
    """The column and row of each box: arrows point from right to left."""
    columns: dict[str, int] = {}
    for box in TopologicalSorter(arrows).static_order():
        columns[box] = max((columns[end] + 1 for end in arrows[box]), default=0)
    rows: dict[int, int] = {}
    places = {}
    for box in arrows:
        column = columns[box]
        places[box] = (column, rows.get(column, 0))
        rows[column] = rows.get(column, 0) + 1
    return places


def draw(source: str, *_: Any, **__: Any) -> str:
    """An SVG of a flowchart, as a fence of pymdownx.superfences."""
    arrows = arrows_of(source)
    places = _places(arrows)
    corners = {box: (c * STEP[0] + 2, r * STEP[1] + 2) for box, (c, r) in places.items()}
    width = max(x for x, _ in corners.values()) + BOX[0] + 2
    height = max(y for _, y in corners.values()) + BOX[1] + 2
    parts = [
        f'<svg class="flow" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    middle = BOX[1] // 2
    for begin, ends in arrows.items():
        for end in ends:
            (x, y), (left, top) = corners[begin], corners[end]
            parts.append(
                f'<line x1="{x}" y1="{y + middle}" x2="{left + BOX[0]}" y2="{top + middle}" '
                'marker-end="url(#tip)"/>'
            )
    for box, (x, y) in corners.items():
        parts.append(
            f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="4"/>'
            f'<text x="{x + BOX[0] // 2}" y="{y + middle}">{escape(box)}</text>'
        )
    return "".join([*parts, "</svg>"])
