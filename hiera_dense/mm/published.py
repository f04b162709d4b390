"""A published model: a folder with weights and a config, here or on the Hugging Face hub."""

import os
from pathlib import Path
from typing import NamedTuple

from hiera_dense.errors import CheckpointError
from hiera_dense.weights.download import WEIGHTS_FILE, from_hub, understand

CONFIG = "config.py"


class Published(NamedTuple):
    """The two files of a published model."""

    config: Path
    weights: Path


def published(source: str) -> Published | None:
    """The files of a model that `hiera-dense publish` wrote.

    Args:
        source: Its folder, or `USER/NAME` on the hub, from which it is downloaded.

    Returns:
        None where it is neither.

    Raises:
        CheckpointError: It is on the hub, but cannot be downloaded.
    """
    folder = Path(os.path.expanduser(source))
    if folder.is_dir():
        found = Published(folder / CONFIG, folder / WEIGHTS_FILE)
        return found if all(path.is_file() for path in found) else None
    try:
        place = understand(source)
    except (CheckpointError, FileNotFoundError):
        return None
    if place.hub is None or place.name is not None or place.hub[1] != WEIGHTS_FILE:
        return None
    return Published(from_hub(place.hub[0], CONFIG), from_hub(place.hub[0], WEIGHTS_FILE))
