"""What tests share: a fixed seed, and trunks that are small but have every code path."""

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hiera_dense.data.toy import write_split
from hiera_dense.model.variants import ARCHS

ROOT = Path(__file__).parents[1]
# Processes of pytest-xdist share the cores, and so do the processes that tests start.
if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    threads = max(1, (os.cpu_count() or 1) // workers)
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn data.

    `instances` in COCO's format, `segments` as images and index masks, `classes` as a folder for
    each of two classes.
    """
    folder = tmp_path_factory.mktemp("toy")
    for split, images in (("train", 8), ("val", 3)):
        write_split(folder, split, images, size=96, seed=0)
        for number, path in enumerate(sorted((folder / "instances" / split).iterdir())):
            place = folder / "classes" / split / ("even", "odd")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    return folder


class Runs:
    """A pickle of it makes a file when it is loaded unsafely."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def shallow(name: str) -> dict[str, Any]:
    """An arch with its own widths and windows, but few blocks; some global where it has any."""
    arch = ARCHS[name]
    blocks = (4,) if arch.global_att_blocks else ()
    return asdict(replace(arch, stages=(1, 2, 3, 2), global_att_blocks=blocks))


def relative_error(result: Tensor, expected: Tensor) -> float:
    """Largest absolute difference, as a share of the largest expected value."""
    assert result.shape == expected.shape
    assert result.isfinite().all()
    assert expected.isfinite().all()
    return ((result - expected).abs().max() / expected.abs().max()).item()


def randomize(module: torch.nn.Module) -> None:
    """Random values for every parameter, so that no bias, norm or table is left out of a test."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, param in module.named_parameters():
            matrix = param.ndim > 1 and "pos_embed" not in name
            scale = 0.5 / param[0].numel() ** 0.5 if matrix else 0.3
            noise = torch.randn(param.shape, generator=generator, dtype=param.dtype)
            param.copy_(noise * scale + (param.ndim == 1) * 0.5)
