"""What all commands have in common: a parser that shows an example, and how errors end them."""

import argparse
import sys
from collections.abc import Callable
from functools import wraps

from hiera_dense.errors import InputError


def make_parser(description: str | None, example: str) -> argparse.ArgumentParser:
    """A parser whose help shows an example.

    Args:
        description: What the command does; the docstring of its module.
        example: Its arguments in a case that people have.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.epilog = f"example:\n  {parser.prog} {example}".rstrip()
    return parser


def ends_with_a_message(main: Callable[[], None]) -> Callable[[], None]:
    """A command that ends with one line, and status 1, where what it was given cannot be used."""

    @wraps(main)
    def guarded() -> None:
        try:
            main()
        except (InputError, FileNotFoundError) as error:
            sys.exit(str(error))
        except OSError as error:  # a full disk, a folder that cannot be written to
            where = f"{error.filename}: " if error.filename else ""
            sys.exit(f"{where}{error.strerror or error}")
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
            sys.exit(130)

    return guarded
