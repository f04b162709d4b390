"""Checks of the values that constructors are given: the kind of each, and its range."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from hiera_dense.errors import SetupError


def is_int(value: Any, least: int) -> bool:
    """Whether a value is an int, and no bool, of at least `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def require_int(name: str, value: Any, least: int) -> None:
    """Raise a SetupError if a value is no int, or less than `least`."""
    if not is_int(value, least):
        raise SetupError(f"{name} {value!r}; expected an int, {least} or more")


def require_ints(name: str, values: Any, least: int, axes: int | None = None) -> None:
    """Raise a SetupError if values are no sequence of ints of at least `least`.

    Args:
        name, values, least: As for `require_int`.
        axes: How many there must be. None: any number.
    """
    is_sequence = isinstance(values, Sequence) and not isinstance(values, str)
    fits = is_sequence and all(is_int(value, least) for value in values)
    if not fits or axes not in (None, len(values)):
        count = "" if axes is None else f"{axes} "
        raise SetupError(f"{name} {values!r}; expected a tuple of {count}ints, {least} or more")


def require_share(name: str, value: Any) -> None:
    """Raise a SetupError if a value is no number from 0 to 1."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        raise SetupError(f"{name} {value!r}; expected a number from 0 to 1")


def require_bool(name: str, value: Any) -> None:
    """Raise a SetupError if a value is no bool."""
    if not isinstance(value, bool):
        raise SetupError(f"{name} {value!r}; expected True or False")


def require_heads(name: str, dim: int, num_heads: int) -> None:
    """Raise a SetupError if the channels of attention cannot be shared out among its heads."""
    if dim % num_heads:
        raise SetupError(
            f"{name} {num_heads}, width {dim}; expected heads that divide the width, such as "
            f"{', '.join(map(str, _divisors(dim)))}"
        )


def _divisors(number: int) -> Sequence[int]:
    return [n for n in range(1, number + 1) if number % n == 0][:5]
