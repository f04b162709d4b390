"""Confusion matrices as the template shows them, for both tasks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hiera_dense.predict.found import Array

MOST_CLASSES = 25  # of a matrix, above which it is no longer read
_MOST_PAIRS = 10


def matrix(
    counts: Array, rows: Sequence[str], columns: Sequence[str], percent: bool
) -> dict[str, Any] | None:
    """Cells of a matrix, shaded by their share of the row; None for too many classes.

    Args:
        counts: Shape (rows, columns).
        rows: Names of the truth.
        columns: Names of what was found.
        percent: Show shares and not counts.
    """
    if max(counts.shape) > MOST_CLASSES + 1:
        return None
    sums = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(sums, 1)
    cells = [
        [
            dict(
                share=float(shares[i, j]),
                is_right=rows[i] == columns[j] and i == j,
                says=_says(int(counts[i, j]), float(shares[i, j]), percent),
                title=f"{rows[i]} as {columns[j]}: {counts[i, j]}, {shares[i, j]:.1%} of the row",
            )
            for j in range(len(columns))
        ]
        for i in range(len(rows))
    ]
    return dict(names=dict(rows=list(rows), columns=list(columns)), rows=cells)


def confused(
    counts: Array, rows: Sequence[str], columns: Sequence[str], kept: int
) -> list[dict[str, Any]]:
    """The classes that are most often taken for another one, most frequent first.

    Args:
        counts: Shape (rows, columns).
        rows: Names of the truth.
        columns: Names of what was found.
        kept: How many of the first rows and columns are classes.
    """
    wrong = counts[:kept, :kept].copy()
    np.fill_diagonal(wrong, 0)
    sums = np.maximum(counts.sum(1), 1)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [
        dict(
            truth=rows[i],
            found=columns[j],
            count=int(wrong[i, j]),
            share=float(wrong[i, j] / sums[i]),
        )
        for i, j in pairs
        if wrong[i, j]
    ]


def _says(count: int, share: float, percent: bool) -> str:
    if not count:
        return ""
    if not percent:
        return str(count)
    return "<0.1" if share < 0.0005 else f"{100 * share:.1f}"
