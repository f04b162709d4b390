"""What the parsers of all commands have in common."""

import argparse


def make_parser(description: str | None, example: str) -> argparse.ArgumentParser:
    """A parser whose help shows an example.

    Args:
        description: What the command does; the docstring of its module.
        example: Its arguments in a case that people have.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.epilog = f"example:\n  {parser.prog} {example}".rstrip()
    return parser
