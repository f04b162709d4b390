"""Fixtures of all tests, and how processes share the cores."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from hiera_dense.data.toy import write_split

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
