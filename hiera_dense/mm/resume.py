"""From which checkpoint a stopped training goes on."""

import re
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
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
    record = record_of(checkpoint)
    for name in ("iter", "epoch"):
        last = cfg.get("train_cfg", {}).get(f"max_{name}s")
        if last is not None and record[name] > last:
            raise SetupError(
                f"{checkpoint}: meta.{name} is {record[name]}, train_cfg.max_{name}s {last}; "
                "expected a run that is not over"
            )
    cfg.setdefault("randomness", {})
    if cfg.randomness.get("seed") is None:
        # mmengine sets it again on resuming, but only after it has built the data loader, whose
        # order of images then is another one.
        cfg.randomness.seed = record.get("seed")


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
    seed = meta.get("seed")
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**32):
        raise SetupError(f"{checkpoint}: meta.seed is {seed!r}; expected 0 to 2^32 - 1, or None")
    for name in ("log_scalars", "runtime_info", "resumed_keys"):
        if not isinstance(content["message_hub"].get(name), dict):
            raise SetupError(f"{checkpoint}: message_hub has no {name}; {expected}")
    return meta


def checkpoint_folder(cfg: Config) -> Path:
    """Where a run of a config leaves its checkpoints."""
    hook = cfg.get("default_hooks", {}).get("checkpoint") or {}
    out_dir = hook.get("out_dir")
    work_dir = Path(cfg.work_dir)
    return Path(out_dir) / work_dir.name if out_dir else work_dir


def checkpoint_folder_of(runner: Any) -> Path:
    """Where a runner leaves its checkpoints."""
    folders = (hook.out_dir for hook in runner.hooks if isinstance(hook, CheckpointHook))
    return Path(next(folders, None) or runner.work_dir)


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
        written = {path: path.stat().st_mtime_ns for path in found}
        later = sorted((p for p in found if written[p] > written[named]), key=lambda p: written[p])
        found = list(dict.fromkeys([*reversed(later), named, *found]))
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
