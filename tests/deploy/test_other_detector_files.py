"""Other two-stage detectors as files: a cascade on the simple pyramid, and Faster R-CNN."""

from collections.abc import Callable
from pathlib import Path

import pytest

Of = Callable[[str], Path]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cascade", "boxes"])  # of support/small_models.py
def test_a_file_finds_what_pytorch_finds(kind: str, exported: Of, compared: Callable) -> None:
    sums = compared(kind, exported(kind))
    assert sums.is_equal, str(sums)
    assert sums.mask > 0.99
