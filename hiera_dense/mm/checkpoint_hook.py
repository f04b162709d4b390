"""Checkpoints that survive a kill: a file under its final name is whole."""

import shutil
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

from hiera_dense.registry import HOOKS  # isort: split

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

from hiera_dense.writing import part_of, whole_file

BACKEND = "hiera_dense.whole_files"


class WholeFiles(LocalBackend):
    """Writes a file beside its place and then renames it.

    What is removed goes only after the next file is whole: mmengine removes the old checkpoint
    before it writes the new one, and makes a new backend for each call, so the class remembers.
    """

    _outdated: ClassVar[set[Path]] = set()

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file; it appears whole or not at all.

        Raises:
            WriteError: The disk is full, or does not let us write.
        """
        path = Path(filepath)
        with whole_file(path) as part:
            part.write_bytes(obj)
        self.is_written(path)

    def is_written(self, path: Path) -> None:
        """Remove what a file that is whole replaces."""
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

    best_ckpt_path: str | None
    best_ckpt_path_dict: dict[str, str | None]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, backend_args=dict(backend=BACKEND))

    def before_train(self, runner: Any) -> None:
        """Also remove what an earlier run, killed, left half written.

        What a checkpoint tells about its run, such as which file is the best, is taken only where
        it names files of this run's folder: the checkpoint may be of a stranger, and files are
        removed by it.
        """
        known = runner.message_hub.runtime_info
        if not _are_numbers(known.get("keep_ckpt_ids", [])):
            del known["keep_ckpt_ids"]
        for name in [name for name in known if name.startswith("best_score")]:
            if not _are_numbers([known[name]]):
                del known[name]
        super().before_train(runner)
        folder = Path(self.out_dir)
        if self.save_best and len(self.key_indicators) == 1:
            self.best_ckpt_path = _inside(folder, self.best_ckpt_path)
        elif self.save_best:
            bests = self.best_ckpt_path_dict
            self.best_ckpt_path_dict = {name: _inside(folder, bests[name]) for name in bests}
        if runner.rank == 0:
            for part in folder.glob(part_of(Path("*.pth")).name):
                shutil.rmtree(part, ignore_errors=True)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Correct the number of iterations, which mmengine's `FlexibleRunner` counts one too many.

        It does after a validation. The number that a training goes on from is also in the hub.
        """
        if (last := runner.message_hub.get_info("iter")) is not None:
            checkpoint["meta"]["iter"] = last + 1


def _are_numbers(values: Any) -> bool:
    """Whether it is a list of numbers, none of them NaN."""
    return isinstance(values, list) and all(
        isinstance(value, Real) and value == value for value in values
    )


def _inside(folder: Path, path: Any) -> str | None:
    """The file of that name in a folder, if there is one; the folder may have been moved."""
    there = folder / Path(str(path)).name
    return str(there) if path and there.is_file() else None
