"""Annotation files that are not given to the hosts as they are: kept in the user's cache."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from hiera_dense.data.annotations import Annotations
from hiera_dense.data.one_file import read_split
from hiera_dense.data.splits import Split
from hiera_dense.errors import DataError
from hiera_dense.writing import whole_file


def as_read(root: Path, split: Split, file: Annotations) -> Split:
    """A split with the annotations that the hosts are to read."""
    if not file.findings.changed and "held_out" not in split:
        return split
    kept = os.path.relpath(keep(file.content), root)
    return Split(**split | {"annotations": kept, "original": split["annotations"]})


def restore(root: Path, split: Split) -> None:
    """Write the annotations of a split again, if they are gone since a run began.

    Args:
        root: The folder of the run's data.
        split: From the record of the run.

    Raises:
        DataError: They are gone, and what would be written now is something else.
        WriteError: They cannot be written.
    """
    path = Path(os.path.normpath(root / split["annotations"]))
    if "original" not in split or path.is_file():
        return
    if keep(read_split(root, split).content) != path:
        raise DataError(
            f"{path} is gone, which a run had rewritten from {root / split['original']}, and that "
            "file or the cache is another one now; expected the config that the run was started "
            f"with, and --data {root}"
        )


def keep(content: dict[str, Any]) -> Path:
    """Write annotations that were rewritten to where the hosts find them.

    Args:
        content: From `read_split`.

    Returns:
        A file in the user's cache, named by its content.

    Raises:
        WriteError: It cannot be written.
    """
    text = json.dumps(content)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(cache).resolve() / "hiera_dense" / "annotations" / f"{name}.json"
    if not path.is_file():
        # Under a name of its own first: several processes of a training may write it at a time.
        own = path.with_name(f"{name}.{os.getpid()}.json")
        with whole_file(own) as part:
            part.write_text(text)
        own.replace(path)
    return path
