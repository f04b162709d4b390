"""What is raised where something that a user gave cannot be used; it says what was expected."""


class InputError(ValueError):
    """The kind of all of these; commands end with its message alone."""


class CheckpointError(InputError):
    """A file or state dict cannot be used as weights."""


class DataError(InputError):
    """Data cannot be used as they are."""


class SetupError(InputError):
    """Settings of a model, a config or a command line cannot be used, or not together."""
