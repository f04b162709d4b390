"""What can be known to fail before the first iteration of a training."""

import random
import sys
import zipfile
from pathlib import Path
from typing import cast

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader, Runner


def check_channels(runner: Runner) -> None:
    """Compare the channels of the first training image with those that the model takes.

    Raises:
        SystemExit: With a message, where they differ.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    trunk = getattr(getattr(model, "backbone", None), "trunk", None)
    expected = getattr(trunk, "in_channels", None)
    if expected is None:
        return
    mean = getattr(model.data_preprocessor, "mean", None)
    if mean is not None and len(mean) not in (1, expected):
        sys.exit(
            f"data_preprocessor.mean and std have {len(mean)} values, backbone.in_channels is "
            f"{expected}; expected as many"
        )
    # The training itself shall draw the same random numbers as without this look at its data.
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        image = runner.train_dataloader.dataset[0]["inputs"]
    random.setstate(states[0])
    np.random.set_state(states[1])
    if len(image) != expected:
        sys.exit(
            f"the first training image has {len(image)} channels, backbone.in_channels is "
            f"{expected}; expected as many (the reading of images: imdecode_backend and color_type "
            "of LoadImageFromFile)"
        )


def seed_of(checkpoint: str) -> int | None:
    """The seed of the run that wrote a checkpoint.

    mmengine sets it again on resuming, but only after it has built the data loader, whose order of
    images then is another one.
    """
    content = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    if "optimizer" not in content:
        sys.exit(f"{checkpoint} holds no optimizer; expected an iter_*.pth or epoch_*.pth of a run")
    return cast("int | None", content["meta"].get("seed"))


def checkpoint_folder(cfg: Config) -> Path:
    """Where a run of a config leaves its checkpoints."""
    out_dir = cfg.default_hooks.checkpoint.get("out_dir")
    work_dir = Path(cfg.work_dir)
    return Path(out_dir) / work_dir.name if out_dir else work_dir


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint of a run that can be read; tells which cannot.

    That is the one that mmengine's `last_checkpoint` names, or one that was written after it, by a
    run that was killed before it could name it; where none is named, the last by number.
    """
    found = [*folder.glob("iter_*.pth"), *folder.glob("epoch_*.pth")]
    found.sort(key=lambda path: int(path.stem.split("_")[1]), reverse=True)
    pointer = folder / "last_checkpoint"
    name = Path(pointer.read_text().strip()).name if pointer.is_file() else ""
    if (named := folder / name) in found:
        later = found[: found.index(named)]
        written = named.stat().st_mtime_ns
        first = [*(p for p in later if p.stat().st_mtime_ns > written), named]
        found = list(dict.fromkeys([*first, *found]))
    for path in found:
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (OSError, zipfile.BadZipFile) as error:
            damaged = str(error)
        if damaged is None:
            return path
        print(f"passed over {path}, which is not whole: {damaged}")
    print(f"no checkpoint in {folder}; starting from the beginning")
    return None
