"""Where the recipes and tools lie: in the installed package, or in the clone that it comes from."""

from fnmatch import fnmatch
from pathlib import Path


def folder() -> Path:
    """The folder that holds `configs` and `tools`.

    Raises:
        FileNotFoundError: The package was installed without them.
    """
    here = Path(__file__).resolve().parent
    for place in (here / ".mim", here.parent):
        if (place / "configs" / "_base_").is_dir():
            return place
    raise FileNotFoundError(
        f"no configs in {here / '.mim'} or {here.parent}; expected hiera_dense installed from a "
        "wheel, or in editable mode from a clone"
    )


def recipe(name: str) -> str:
    """The path of a config, to inherit from it in your own config.

        _base_ = __import__("hiera_dense").recipe("upernet/NAME.py")

    Args:
        name: Its path below `configs`, or its name alone, with or without `.py`.

    Raises:
        FileNotFoundError: There is no such config; the message names the nearest.
    """
    configs = folder() / "configs"
    given = name if name.endswith(".py") else f"{name}.py"
    if (exact := configs / given).is_file():
        return str(exact)
    found = matching(given) if "/" not in given else []
    if len(found) == 1:
        return str(found[0])
    near = [str(p.relative_to(configs)) for p in matching(f"*{Path(given).stem.split('_')[0]}*")]
    raise FileNotFoundError(
        f"no config {name!r} in {configs}; expected {', '.join(near[:5]) or 'one of its files'}"
        + (f" and {len(near) - 5} more" if len(near) > 5 else "")
    )


def matching(pattern: str) -> list[Path]:
    """The leaf configs whose names match a pattern of shells, sorted."""
    leaves = [p for p in (folder() / "configs").rglob("*.py") if "_base_" not in p.parts]
    return sorted(p for p in leaves if fnmatch(p.name, pattern) or fnmatch(p.stem, pattern))
