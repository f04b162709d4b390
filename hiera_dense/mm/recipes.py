"""Where the recipes and tools lie: in the installed package, or in the clone that it comes from.

python -m hiera_dense.mm.recipes              prints the folder that holds configs/ and tools/
python -m hiera_dense.mm.recipes PATTERN      prints the configs whose names match
"""

from pathlib import Path


def folder() -> Path:
    """The folder that holds `configs` and `tools`.

    Raises:
        FileNotFoundError: The package was installed without them.
    """
    here = Path(__file__).resolve().parents[1]
    for place in (here / ".mim", here.parent):
        if (place / "configs" / "_base_").is_dir():
            return place
    raise FileNotFoundError(
        f"no configs in {here / '.mim'} or {here.parent}; expected hiera_dense installed from a "
        "wheel, or in editable mode from a clone"
    )


def recipe(name: str) -> str:
    """The path of a config, to inherit from it in a config of one's own.

        _base_ = __import__("hiera_dense.mm.recipes").recipes.path("upernet/NAME.py")

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
        f"no config {name!r} in {configs}; there are {', '.join(near[:5]) or 'none like it'}"
        + (f" and {len(near) - 5} more" if len(near) > 5 else "")
    )


def matching(pattern: str) -> list[Path]:
    """The leaf configs whose names match a pattern of shells, sorted."""
    configs = folder() / "configs"
    return [p for p in sorted(configs.rglob(pattern)) if p.suffix == ".py" and _is_leaf(p)]


def _is_leaf(config: Path) -> bool:
    return "_base_" not in config.parts
