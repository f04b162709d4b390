"""The page about the commands: what `--help` of each prints."""

import io
import os
import sys
from contextlib import redirect_stdout, suppress
from functools import cache
from importlib import import_module
from unittest.mock import patch

from hiera_dense.__main__ import COMMANDS, module_of, usage

WIDTH = 84  # columns


@cache
def help_of(command: str) -> str:
    """What `hiera-dense COMMAND --help` prints."""
    module = import_module(f"hiera_dense.cli.{module_of(command)}")
    printed = io.StringIO()
    with (
        patch.object(sys, "argv", [f"hiera-dense {command}", "--help"]),
        patch.dict(os.environ, COLUMNS=str(WIDTH)),
        redirect_stdout(printed),
        suppress(SystemExit),
    ):
        module.main()
    return printed.getvalue().rstrip()


def page() -> str:
    """The page, in Markdown."""
    parts = [
        "# Commands",
        "This page is what the commands print with `--help`. `python -m hiera_dense` is the same "
        "as `hiera-dense`.",
        _block(usage()),
    ]
    for command in COMMANDS:
        parts += [f"## {command}", _block(help_of(command))]
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    return f"```text\n{text}\n```"
