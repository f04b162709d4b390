"""Numbers and text as JSON may hold them: also as text, also not finite."""

import re
from math import isfinite
from typing import Any

from hiera_dense.data.findings import Findings, shown

MAX_ID = 2**53  # whole numbers that a float holds, as in the tables of an evaluation
MAX_AREA = 1e12
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_NUMBERS = {int, float}

Entry = dict[str, Any]


def whole(entry: Entry, key: str, where: str, findings: Findings) -> int | None:
    """A field as a whole number, which replaces text and floats that are one."""
    value = entry.get(key)
    if type(value) is int and -MAX_ID <= value <= MAX_ID:
        return value
    number = number_in(value)
    is_one = number is not None and number == int(number) and abs(number) <= MAX_ID
    if number is None or not is_one or (isinstance(value, str) and str(int(number)) != value):
        kind = f"{key} that is no whole number; expected one"
        findings.error(kind, f"{where}: {shown(value)}")
        return None
    findings.change(f"{key} that is text or has a decimal point", f"{where}: {shown(value)}")
    entry[key] = found = int(number)
    return found


def number_in(value: Any) -> float | int | None:
    """A finite number, also where it is written as text; None: there is none."""
    if type(value) is int:
        return value if abs(value) <= MAX_ID else None
    if type(value) is float:
        return value if isfinite(value) else None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return None


def coordinates(values: list[Any]) -> list[float] | None:
    """Finite numbers, the list itself where it holds nothing else; None: something is not."""
    if values and {*map(type, values)} <= _NUMBERS:
        # A sum is quick, and NaN or infinite if one number is.
        is_small = min(values) > -MAX_AREA and max(values) < MAX_AREA
        return values if is_small and isfinite(sum(values)) else None
    numbers = [number_in(value) for value in values]
    return None if None in numbers else numbers  # type: ignore[return-value]


def is_text(value: Any) -> bool:
    """Whether a value is text that can be printed, and be the name of a file."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a character, which JSON may hold
        return False
    return True
