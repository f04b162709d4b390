"""Files and folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hiera_dense.errors import SetupError, WriteError

MEGABYTE = 1e6


def part_of(path: Path) -> Path:
    """The folder in which a file is written before it gets its place."""
    return path.with_name(f".{path.name}.part")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file that takes its place once it is complete and on the disk.

    Args:
        path: Where the file goes. Its folder is made if it is missing; an older file is replaced.

    Yields:
        The path to write to, of the same name. Further files that are written beside it, such as
        the external data of ONNX, go along.

    Raises:
        WriteError: The disk is full, or does not let us write. What was begun is removed.
    """
    part = part_of(path)
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        part.mkdir(parents=True)
        yield part / path.name
        # The file that the others belong to comes last.
        for file in sorted(part.iterdir(), key=lambda file: file.name == path.name):
            with file.open("rb+") as written:
                os.fsync(written.fileno())
            file.replace(path.with_name(file.name))
    except OSError as error:
        size = sum(file.stat().st_size for file in part.glob("*"))
        raise WriteError(
            f"{path}: cannot be written: {error.strerror or error}, after {size / MEGABYTE:.1f} MB,"
            " which are removed again; expected room for the whole file, in a folder that can be "
            "written to"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def whole_folder(path: Path, mark: str) -> Iterator[Path]:
    """Write a folder that takes its place once it is complete.

    Args:
        path: Where the folder goes. Its parents are made if they are missing; an older folder is
            replaced only if it has the mark, and one that is empty.
        mark: The name of a file that tells a folder of this kind, which is written into it.

    Yields:
        An empty folder to write to, beside its place.

    Raises:
        SetupError: Something else is there.
        WriteError: The disk is full, or does not let us write. What was begun is removed.
    """
    path = Path(os.path.abspath(path))  # `..` has no name
    refuse_other_folder(path, mark)
    part, old = part_of(path), path.with_name(f".{path.name}.old")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        part.mkdir(parents=True)
        yield part
        (part / mark).touch()
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.replace(old)
        part.replace(path)
    except OSError as error:
        raise WriteError(
            f"{path}: cannot be written: {error.strerror or error}; expected room for it, in a "
            "folder that can be written to"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(old, ignore_errors=True)


def refuse_other_folder(path: Path, mark: str) -> None:
    """Refuse to replace what is not ours; to be called before long work too.

    Raises:
        SetupError: There is a file, or a folder that has files and not the mark.
    """
    if path.is_dir() and (not any(path.iterdir()) or (path / mark).is_file()):
        return
    if path.exists() or path.is_symlink():
        kind = "a folder of other files" if path.is_dir() else "a file"
        raise SetupError(f"{path} is {kind}; expected a new folder, or one that was written so")
