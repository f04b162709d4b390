"""Errors that a user can do something about."""


class CheckpointError(ValueError):
    """A file or state dict that cannot be used as weights; says what was expected."""
