"""What trained weights began from, and under which licence that is."""

from typing import NamedTuple

from hiera_dense.errors import shown
from hiera_dense.weights.download import understand

RANDOM = "random weights: yours"


class Origin(NamedTuple):
    """Where the values of trained weights come from.

    Attributes:
        began_from: A name in `catalog.WEIGHTS`, else a URL, a hub id or the name of a file; None:
            random weights.
        licence: Of what they began from, or why it is not known.
    """

    began_from: str | None
    licence: str


def origin_of(source: str | None) -> Origin:
    """Look up what a training began from; touches no network.

    Args:
        source: As its config names it; None: random weights.
    """
    if source is None:
        return Origin(None, RANDOM)
    try:
        known = understand(source)
    except (ValueError, OSError):  # no file of this machine
        known = None
    if known and known.name and known.weight:
        return Origin(known.name, known.weight.licence)
    is_elsewhere = "://" in source or (known is not None and known.hub is not None)
    name = source if is_elsewhere else source.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return Origin(shown(name), f"unknown: began from {shown(name)}")
