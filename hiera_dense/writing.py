"""Files that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hiera_dense.errors import WriteError

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
