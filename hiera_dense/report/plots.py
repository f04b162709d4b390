"""Plots as SVG files: lines and histograms in one style, legible on paper and on a phone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

# Okabe and Ito's colours, which colour-blind eyes tell apart, without yellow; dark ones first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#7A3E8E", "#E69F00", "#56B4E9", "#222222")
DASHES = ("-", "--", "-.", ":")
INK, GRID = "#333333", "#E4E4E4"
STYLE: Any = {  # matplotlib's stubs list the names of all settings
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "hiera_dense",  # the same file each time
    "text.parse_math": False,  # a name may have a $
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#888888",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "lines.linewidth": 1.8,
}


def lines(
    path: Path,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    x: str,
    y: str,
) -> None:
    """Curves over one axis, with a legend if there are several.

    Args:
        path: The file, .svg.
        curves: (x, y) by name.
        x: What the horizontal axis is.
        y: What the vertical axis is.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(x, y)
        for place, (name, points) in enumerate(curves.items()):
            number = len(COLOURS)
            axes.plot(
                *np.array(points, np.float64).reshape(-1, 2).T,
                color=COLOURS[place % number],
                linestyle=DASHES[place // number % len(DASHES)],
                marker="o" if len(points) < 12 else None,
                markersize=4,
                label=f"\u200b{name}",  # matplotlib leaves out names that begin with _
            )
        if min((value for points in curves.values() for _, value in points), default=0) >= 0:
            axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", scilimits=(-3, 5))
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=9, handlelength=2.6)
        _save(figure, path)


def precision_recall(path: Path, curves: Mapping[str, Sequence[float]]) -> None:
    """Precision over recall, both from 0 to 1, at 101 places of recall."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure("recall", "precision", (3.2, 2.7))
        for place, (name, precision) in enumerate(curves.items()):
            recall = np.linspace(0, 1, len(precision))
            axes.plot(recall, precision, DASHES[place % 4], color=COLOURS[place], label=name)
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.05)
        _save(figure, path)


def histogram(
    path: Path, values: Sequence[float], x: str, y: str, marks: Mapping[str, float] | None = None
) -> None:
    """How often values occur.

    Args:
        path: The file, .svg.
        values: Above 0 where there are marks: the axis is then logarithmic.
        x: What the values are.
        y: What is counted.
        marks: Upright lines by name, at limits between kinds of values.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(x, y)
        numbers = np.asarray(values, np.float64)
        if marks is not None:
            low, high = max(numbers.min(initial=1e9), 0.5), max(numbers.max(initial=1), 1)
            bins = np.geomspace(min(low, high / 2), high * 1.001, 31)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        elif np.ptp(numbers) < 40 and (numbers == numbers.round()).all():
            bins = np.arange(numbers.min(), numbers.max() + 2) - 0.5
        else:
            bins = np.histogram_bin_edges(numbers, 30)
        axes.hist(numbers, bins=list(bins), color=COLOURS[0], edgecolor="white", linewidth=0.5)
        axes.margins(y=0.12)
        for name, place in (marks or {}).items():
            axes.axvline(place, color=COLOURS[1], linestyle="--", linewidth=1.2)
            axes.text(place, axes.get_ylim()[1], f" {name}", va="top", fontsize=9, color=INK)
        _save(figure, path)


def scatter(path: Path, points: Sequence[tuple[float, float]], x: str, y: str) -> None:
    """Points, larger where many lie at one place."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(x, y)
        places, counts = np.unique(np.asarray(points, np.float64), axis=0, return_counts=True)
        sizes = 25 + 250 * counts / counts.sum()
        axes.scatter(places[:, 0], places[:, 1], s=sizes, color=COLOURS[0], alpha=0.5, linewidths=0)
        axes.set_xlim(0, 1.06 * places[:, 0].max())
        axes.set_ylim(0, 1.06 * places[:, 1].max())
        _save(figure, path)


def _figure(x: str, y: str, size: tuple[float, float] = (5.2, 3.1)) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
