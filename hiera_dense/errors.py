"""What is raised where something that a user gave cannot be used; it says what was expected."""

from collections.abc import Iterable


class InputError(ValueError):
    """The kind of all of these; commands end with its message alone."""


class CheckpointError(InputError):
    """A file or state dict cannot be used as weights."""


class DataError(InputError):
    """Data cannot be used as they are."""


class WriteError(InputError):
    """A file cannot be written; nothing is left of it."""


class TrainingError(InputError):
    """A training cannot go on: its losses or weights are not finite."""


class SetupError(InputError):
    """Settings of a model, a config or a command line cannot be used, or not together."""


def shown(text: str, length: int | None = 120) -> str:
    """What a file says, at most so many characters of it, and without control characters."""
    if length is not None and len(text) > length:
        text = f"{text[:length]}..."
    return text if text.isprintable() else ascii(text)


def some(names: Iterable[object]) -> str:
    """The first four names, and how many more there are."""
    said = [str(name) for name in names]
    more = f" and {len(said) - 4} more" if len(said) > 4 else ""
    return ", ".join(map(shown, said[:4])) + more
