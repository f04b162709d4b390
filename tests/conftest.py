"""Fixtures of all tests, and how processes share the cores."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support.results import SIZE, detections, disc

from hiera_dense.data.toy import write_split
from hiera_dense.predict.palette import colours
from hiera_dense.predict.results import Result

# Processes of pytest-xdist share the cores, and so do the processes that tests start.
if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    threads = max(1, (os.cpu_count() or 1) // workers)
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _logs() -> Iterator[None]:
    """A model writes into the log of the last training, which a server may have closed."""
    yield
    if "mmengine.logging" in sys.modules:
        sys.modules["mmengine.logging"].MMLogger._instance_dict.clear()


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


@pytest.fixture
def found() -> Result:
    """Three discs, of three classes; the second covers a part of the first."""
    return detections([(40, 40, 25), (50, 60, 12), (90, 130, 8)])


@pytest.fixture
def segmented() -> Result:
    """Background, a disc and a square."""
    labels = np.zeros(SIZE, np.uint8)
    labels[disc(SIZE, 50, 60, 30)] = 1
    labels[70:110, 100:150] = 2
    image = np.full((*SIZE, 3), 100, np.uint8)
    classes = ("background", "disc", "square", "triangle")
    return Result(SIZE, classes, colours(4), segmentation=labels, image=image)
