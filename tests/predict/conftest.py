"""Made-up results of both tasks, and checkpoints of small models with random weights."""

import os
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from support.results import SIZE, detections, disc
from support.saved import save
from support.training import DELTA, DETECTOR, HEADS, SEGMENTER

from hiera_dense.data.folders import VARIABLE
from hiera_dense.predict.palette import colours
from hiera_dense.predict.results import Result

BASES = {"mmdet": DETECTOR, "mmseg": SEGMENTER}
FOLDERS = {"mmdet": "instances", "mmseg": "segments"}


@pytest.fixture(scope="session")
def configs(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> dict[str, Config]:
    """A config of each host, with a trunk that is small."""
    folder = tmp_path_factory.mktemp("configs")
    read = {}
    for host, base in BASES.items():
        path = folder / f"{host}.py"
        path.write_text(DELTA.format(base=base, heads=HEADS[host]))
        os.environ[VARIABLE] = str(toy / FOLDERS[host])
        try:
            read[host] = Config.fromfile(path)
        finally:
            del os.environ[VARIABLE]
    return read


@pytest.fixture(scope="session")
def checkpoints(
    tmp_path_factory: pytest.TempPathFactory, configs: dict[str, Config]
) -> dict[str, Path]:
    """A checkpoint of each host, with its config inside it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    paths = {host: folder / host / "best_metric_iter_1.pth" for host in configs}
    for host, path in paths.items():
        path.parent.mkdir()
        save(configs[host], path)
    return paths


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
