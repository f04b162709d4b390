"""Annotation files in COCO's format: read once, and checked."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from hiera_dense.data.fields import normalised
from hiera_dense.data.findings import Findings
from hiera_dense.errors import DataError

_KEYS = ("images", "annotations", "categories")
_BYTE_ORDER_MARK = "\ufeff"


class Annotations(NamedTuple):
    """A file that can be used.

    `content` has types, ranges and relations as `fields.normalised` promises; `findings` says what
    was rewritten, and has no errors.
    """

    content: dict[str, Any]
    findings: Findings


def read_coco(path: Path) -> Annotations:
    """Read an annotation file.

    Raises:
        DataError: It is not JSON; has no images, annotations or categories; two categories have one
            name; or there are fields of another type, range or relation than detectors need. Every
            kind is named with how often it occurs and a first example.
    """
    text = _text(path)
    try:
        content = json.loads(text.removeprefix(_BYTE_ORDER_MARK))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply; expected a COCO data set") from None
    for key in _KEYS:
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not entries:
            raise DataError(f"{path} has no {key}; expected the file of a COCO data set")
    findings = normalised({key: content[key] for key in _KEYS}, path.name)
    if findings.errors:
        lines = [line for line in findings.lines() if line.startswith("error")]
        raise DataError(f"{path} cannot be trained on:\n  " + "\n  ".join(lines))
    check_names([category["name"] for category in content["categories"]], path)
    if text.startswith(_BYTE_ORDER_MARK):
        findings.change("a byte order mark", path.name)
    return Annotations(content, findings)


def check_names(names: list[Any], path: Path) -> None:
    """Refuse class names that are not text or occur twice.

    Raises:
        DataError: A name is invalid; `path` is named in the message.
    """
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise DataError(f"{path} has the class name {wrong[0]!r}; expected text")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path} has more than one class named {', '.join(twice)}")


def _text(path: Path) -> str:
    if not path.is_file():  # a pipe would be waited for
        raise DataError(f"{path} is not there, or no file; expected the file of a COCO data set")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None
