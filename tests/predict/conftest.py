"""Checkpoints of small models with random weights."""

from pathlib import Path

import pytest
from mmengine.config import Config
from support.saved import FOLDERS, save, small_config


@pytest.fixture(scope="session")
def configs(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> dict[str, Config]:
    """A config of each host, with a trunk that is small."""
    folder = tmp_path_factory.mktemp("configs")
    return {host: small_config(host, folder, toy / name) for host, name in FOLDERS.items()}


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
