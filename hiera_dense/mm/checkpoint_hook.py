"""Checkpoints that survive a kill: a file under its final name is whole."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from hiera_dense.registry import HOOKS  # isort: split

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

BACKEND = "hiera_dense.whole_files"
PART = ".part"


class WholeFiles(LocalBackend):
    """Writes a file beside its place and then renames it.

    What is removed goes only after the next file is whole: mmengine removes the old checkpoint
    before it writes the new one, and makes a new backend for each call, so the class remembers.
    """

    _outdated: ClassVar[set[Path]] = set()

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file; it appears whole or not at all."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + PART)
        part.write_bytes(obj)
        self.adopt(part, path)

    def adopt(self, part: Path, path: Path) -> None:
        """Give a file that is complete its name, once it is on the disk."""
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
        self._outdated.discard(path)
        while self._outdated:
            self._outdated.pop().unlink(missing_ok=True)

    def remove(self, filepath: str | Path) -> None:
        """Remove a file once the next one is whole."""
        self._outdated.add(Path(filepath))


register_backend(BACKEND, WholeFiles)


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's checkpoint hook, for a local disk, safe against a kill at any moment.

    Args:
        **kwargs: As for mmengine's, but `backend_args`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, backend_args=dict(backend=BACKEND))

    def before_train(self, runner: Any) -> None:
        """Also remove what an earlier run, killed, left half written."""
        super().before_train(runner)
        if runner.rank == 0:
            for path in _half_written(Path(self.out_dir)):
                path.unlink(missing_ok=True)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Correct the number of iterations, which mmengine's `FlexibleRunner` counts one too many.

        It does after a validation. The number that a training goes on from is also in the hub.
        """
        if (last := runner.message_hub.get_info("iter")) is not None:
            checkpoint["meta"]["iter"] = last + 1


def _half_written(folder: Path) -> Iterator[Path]:
    return folder.glob(f"*.pth{PART}")
