"""From which checkpoint a stopped training goes on."""

import re
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from hiera_dense.errors import SetupError
from hiera_dense.weights.pickles import damage_of

_NUMBERED = re.compile(r"(?:iter|epoch)_(\d+)\.pth")
_PARTS = {"meta": dict, "state_dict": dict, "optimizer": dict, "message_hub": dict}


def resume_from(checkpoint: str, cfg: Config) -> None:
    """Let a config go on from a checkpoint; `auto`: from the last whole one, if there is any."""
    if checkpoint == "auto":
        folder = checkpoint_folder(cfg)
        found = last_whole_checkpoint(folder, tell=True)
        if found is None:
            print(f"no checkpoint in {folder}; starting from the beginning")
            return
        checkpoint = str(found)
    cfg.resume, cfg.load_from = True, checkpoint
    cfg.setdefault("randomness", {})
    if cfg.randomness.get("seed") is None:
        # mmengine sets it again on resuming, but only after it has built the data loader, whose
        # order of images then is another one.
        cfg.randomness.seed = record_of(checkpoint).get("seed")
    else:
        record_of(checkpoint)


def record_of(checkpoint: str) -> dict[str, Any]:
    """What a checkpoint tells about its run.

    Raises:
        SetupError: It is none that a training can go on from.
    """
    content = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    expected = "expected an iter_*.pth or epoch_*.pth of a run"
    for name, kind in _PARTS.items():
        if name not in content:
            raise SetupError(f"{checkpoint} holds no {name}; {expected}")
        if not isinstance(content[name], kind):
            said = type(content[name]).__name__
            raise SetupError(f"{checkpoint}: {name} is a {said}; {expected}")
    meta = cast("dict[str, Any]", content["meta"])
    for name in ("iter", "epoch"):
        if type(number := meta.get(name)) is not int or number < 0:
            raise SetupError(
                f"{checkpoint}: meta.{name} is {number!r}; expected a number from 0 on"
            )
    if not isinstance(meta.get("seed"), int | None):
        raise SetupError(f"{checkpoint}: meta.seed is {meta['seed']!r}; expected a number or None")
    return meta


def checkpoint_folder(cfg: Config) -> Path:
    """Where a run of a config leaves its checkpoints."""
    out_dir = cfg.default_hooks.checkpoint.get("out_dir")
    work_dir = Path(cfg.work_dir)
    return Path(out_dir) / work_dir.name if out_dir else work_dir


def last_whole_checkpoint(folder: Path, tell: bool = False) -> Path | None:
    """The last checkpoint of a run that can be read.

    That is the one that mmengine's `last_checkpoint` names, or one that was written after it, by a
    run that was killed before it could name it; where none is named, the last by number.

    Args:
        folder: With the checkpoints.
        tell: Say which are passed over, since they are damaged.
    """
    numbers = {path: int(m[1]) for path in folder.glob("*.pth") if (m := _named(path))}
    found = sorted(numbers, key=lambda path: numbers[path], reverse=True)
    if (named := folder / _pointer(folder)) in found:
        later = found[: found.index(named)]
        written = named.stat().st_mtime_ns
        first = [*(p for p in later if p.stat().st_mtime_ns > written), named]
        found = list(dict.fromkeys([*first, *found]))
    for path in found:
        if (damage := damage_of(path)) is None:
            return path
        if tell:
            print(f"passed over {path}: {damage}")
    return None


def _named(path: Path) -> re.Match[str] | None:
    return _NUMBERED.fullmatch(path.name)


def _pointer(folder: Path) -> str:
    """The name of the file that mmengine's `last_checkpoint` tells, if it tells one."""
    try:
        return Path((folder / "last_checkpoint").read_text().strip()).name
    except (OSError, ValueError):  # none, or no text
        return ""
