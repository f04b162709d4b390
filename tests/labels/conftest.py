"""Small exports, drawn in the layouts of annotation tools."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.imported import Draw


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Writes a noisy image below `export/`; `orientation` is EXIF's."""
    rng = np.random.default_rng(0)

    def write(name: str, size: tuple[int, int] = (80, 60), orientation: int = 1) -> Path:
        path = tmp_path / "export" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x112] = orientation
        Image.fromarray(pixels).save(path, exif=exif)
        return path

    return write


@pytest.fixture
def text(tmp_path: Path) -> Draw:
    """Writes a text file below `export/`."""

    def write(name: str, content: str) -> Path:
        path = tmp_path / "export" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    return write
