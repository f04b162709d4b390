"""Writing a page: a folder with index.html and the pictures and plots on it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined  # comes with torch

import hiera_dense
from hiera_dense.errors import shown
from hiera_dense.writing import refuse_other_folder, whole_folder

PAGE = "index.html"
_MARK = ".hiera-dense-page"


def refuse_other(folder: Path) -> None:
    """Refuse to write where something else is than a page of ours; before long work.

    Raises:
        SetupError: There is a file, or a folder of other files.
    """
    refuse_other_folder(folder, _MARK)


@contextmanager
def page_folder(folder: Path) -> Iterator[Path]:
    """A new folder for a page, which takes the place of an older page when it is complete.

    Raises:
        SetupError: Something else is there.
        WriteError: It cannot be written.
    """
    with whole_folder(folder, _MARK) as part:
        yield part


def render(folder: Path, template: str, content: Mapping[str, Any]) -> None:
    """Write index.html. Whatever comes from data is escaped.

    Args:
        folder: From `page_folder`.
        template: The file in this package.
        content: What it shows.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: shown(value, 300) if type(value) is str else value,
    )
    told = dict(version=hiera_dense.__version__, date=f"{datetime.now():%Y-%m-%d %H:%M}")
    text = environment.get_template(template).render(told | dict(content))
    (folder / PAGE).write_text(text, "utf-8")
