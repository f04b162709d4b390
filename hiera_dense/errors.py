"""What is raised where something that a user gave cannot be used; it says what was expected."""


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
