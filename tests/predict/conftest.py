"""Checkpoints of small models with random weights."""

import os
from pathlib import Path

import pytest
from mmengine.config import Config
from support.saved import save
from support.training import DELTA, DETECTOR, HEADS, SEGMENTER

from hiera_dense.data.folders import VARIABLE

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
