"""What is found in data: each kind with how often, and examples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hiera_dense.errors import shown as printable

EXAMPLES = 10  # of a kind, which are kept: there may be millions


class Seen(NamedTuple):
    """What an image is: width and height as it is read; what is wrong; what is worth knowing."""

    size: tuple[int, int] | None
    problem: str | None = None
    remarks: tuple[str, ...] = ()


class Found(list[str]):
    """Examples of a kind, the first ones only, and how often it occurs."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def add(self, example: object) -> None:
        self.total += 1
        if len(self) < EXAMPLES:
            self.append(printable(str(example), None))

    def merge(self, other: "Found") -> None:
        self.extend(other[: EXAMPLES - len(self)])
        self.total += other.total


class Findings:
    """`errors` would stop or spoil a training; `notes` are worth knowing.

    `changed` says that something harmless was rewritten, so that the original file must not be
    given to anybody else.
    """

    def __init__(self) -> None:
        self.errors: dict[str, Found] = {}
        self.notes: dict[str, Found] = {}
        self.changed = False

    def error(self, kind: str, example: object) -> None:
        self.errors.setdefault(kind, Found()).add(example)

    def note(self, kind: str, example: object) -> None:
        self.notes.setdefault(kind, Found()).add(example)

    def change(self, kind: str, example: object) -> None:
        """Note what was rewritten."""
        self.changed = True
        self.note(f"{kind}; rewritten for the training, the file stays as it is", example)

    def extend(self, others: "Findings") -> None:
        """Add the notes of others."""
        for kind, found in others.notes.items():
            self.notes.setdefault(kind, Found()).merge(found)

    def lines(self) -> list[str]:
        """A line for each kind."""
        return [
            f"{title}: {kind}: {found.total}, first {found[0]}"
            for title, kinds in (("note", self.notes), ("error", self.errors))
            for kind, found in kinds.items()
        ]


class Part(NamedTuple):
    """A split that is to be checked: its images, and what looks at it once these are seen."""

    paths: list[Path]
    check: Callable[[dict[Path, Seen], Findings], None]


def shown(value: object) -> str:
    """A value of a file, as much of it as fits into a message."""
    text = repr(value) if not isinstance(value, (list, dict)) else _shown_in_part(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _shown_in_part(value: Any) -> str:
    """Without the whole of a list of a million entries, or of one nested a thousand times."""
    first = dict(list(value.items())[:8]) if isinstance(value, dict) else value[:8]
    try:
        return repr(first)
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"
