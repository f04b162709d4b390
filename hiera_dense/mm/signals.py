"""What a training does when it is asked to stop, or warned that it will be."""

import errno
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from hiera_dense.errors import SetupError, WriteError
from hiera_dense.mm.checkpoint_hook import BACKEND, WholeFiles
from hiera_dense.mm.launch import is_first_process
from hiera_dense.mm.resume import checkpoint_folder_of, last_whole_checkpoint

LOCK = ".training.lock"
_STOP = (signal.SIGINT, signal.SIGTERM)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_WARN = signal.SIGUSR1


class Stopped(KeyboardInterrupt):
    """A signal has asked the training to stop."""


class Signals(Hook):
    """What signals ask of a training, and what it does about them after an iteration.

    SIGUSR1, which batch systems send some time before they end a job
    (`#SBATCH --signal=USR1@120`), saves a checkpoint; it is removed after the next one is whole.
    Resuming from it repeats an epoch that had begun.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self.is_warned = False
        self.stopped_by: int | None = None
        self.iterations: int | None = None

    def before_train(self, runner: Any) -> None:
        """Count from where the training begins."""
        self.iterations = runner.iter

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Save where it was asked for."""
        self.iterations = runner.iter + 1
        if self.stopped_by:  # and somebody has caught the exception, as mmengine does in places
            raise Stopped
        if not self.is_warned:
            return
        self.is_warned = False
        folder, step = checkpoint_folder_of(runner), runner.iter + 1
        path = folder / f"iter_{step}.pth"
        if path.exists():  # it was time for one anyway
            return
        meta = dict(epoch=runner.epoch, iter=step)
        backend = dict(backend=BACKEND)
        runner.save_checkpoint(
            str(folder), path.name, meta=meta, by_epoch=False, backend_args=backend
        )
        if is_main_process():
            (folder / "last_checkpoint").write_text(str(path))
            WholeFiles().remove(path)
            runner.logger.info(f"saved {path}, since a signal warned of the end")


@contextmanager
def only_training_in(work_dir: Path) -> Iterator[None]:
    """Keep others from training in the same folder, as long as this one does.

    Raises:
        SetupError: Another training runs there.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work_dir / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise SetupError(
            f"another training is running in {work_dir}; expected another --work-dir, or the end "
            "of that one"
        ) from None
    except NotImplementedError:  # a file system that cannot lock
        yield
        return
    try:
        yield
    finally:
        lock.release()


@contextmanager
def ends_with_a_way_on(folder: Path, arguments: Sequence[str]) -> Iterator[Signals]:
    """Let signals and a full disk end a training with what is saved and how to go on, in a line.

    Args:
        folder: Where its checkpoints are.
        arguments: Of the command line, the program first.

    Yields:
        A hook for the runner, once there is one.

    Raises:
        SystemExit: With 130 after SIGINT, 143 after SIGTERM.
        WriteError: A checkpoint, or another file, could not be written.
    """
    process, asked = os.getpid(), Signals()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() == process:
            # Readers of data first, or they would tell that this process is gone; torch would tell
            # that they are.
            asked.stopped_by = number
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for child in active_children():
                child.kill()
            raise Stopped
        if number == signal.SIGTERM:  # a worker that reads data; of SIGINT the training tells it
            os._exit(128 + number)

    def warn(number: int, _: FrameType | None) -> None:
        asked.is_warned = True

    before = {number: signal.signal(number, stop) for number in _STOP}
    before[_WARN] = signal.signal(_WARN, warn)
    try:
        yield asked
    except BaseException as error:
        for own in before:
            signal.signal(own, signal.SIG_IGN)  # to leave in peace
        if number := asked.stopped_by:
            if is_first_process():
                name = signal.Signals(number).name
                where = f" at iteration {asked.iterations}" if asked.iterations is not None else ""
                way_on = f"stopped by {name}{where}; {_saved(folder, arguments)}"
                sys.stdout.flush()
                print(f"\n{way_on}", file=sys.stderr, flush=True)
            raise SystemExit(128 + number) from None
        if isinstance(error, WriteError):
            raise WriteError(f"{error}; {_saved(folder, arguments)}") from error
        if isinstance(error, OSError) and error.errno in _FULL:
            where = f"{error.filename}: " if error.filename else ""
            problem = f"{where}{error.strerror}"
            raise WriteError(f"{problem}; {_saved(folder, arguments)}") from error
        raise
    finally:
        for own, handler in before.items():
            signal.signal(own, handler)


def go_on(arguments: Sequence[str]) -> str:
    """The command that goes on where one has stopped."""
    words: list[str] = []
    for word in arguments:
        if words and words[-1] == "--resume" and not word.startswith("-"):
            continue  # the file that it went on from
        words.append(word.split("=")[0] if word.startswith("--resume=") else word)
    program, *rest = words
    if program.endswith(".py"):
        program = f"python {shlex.quote(program)}"
    return f"{program} {shlex.join([w for w in rest if w != '--resume'])} --resume"


def _saved(folder: Path, arguments: Sequence[str]) -> str:
    """What is there, and how to go on from it."""
    if (last := last_whole_checkpoint(folder)) is None:
        return "no checkpoint was saved yet, so the same command starts again"
    return f"saved: {last}. To go on: {go_on(arguments)}"
