"""From which checkpoint a killed training goes on."""

import zipfile
from pathlib import Path
from typing import cast

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from hiera_dense.errors import SetupError


def resume_from(checkpoint: str, cfg: Config) -> None:
    """Let a config go on from a checkpoint; `auto`: from the last whole one, if there is any."""
    found = last_whole_checkpoint(checkpoint_folder(cfg)) if checkpoint == "auto" else checkpoint
    if found is None:
        return
    cfg.resume, cfg.load_from = True, str(found)
    cfg.setdefault("randomness", {})
    if cfg.randomness.get("seed") is None:
        cfg.randomness.seed = seed_of(cfg.load_from)


def seed_of(checkpoint: str) -> int | None:
    """The seed of the run that wrote a checkpoint.

    mmengine sets it again on resuming, but only after it has built the data loader, whose order of
    images then is another one.
    """
    content = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    if "optimizer" not in content:
        raise SetupError(
            f"{checkpoint} holds no optimizer; expected an iter_*.pth or epoch_*.pth of a run"
        )
    return cast("int | None", content.get("meta", {}).get("seed"))


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
