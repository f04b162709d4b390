"""The pages about classes and functions, which mkdocstrings fills from their docstrings."""

from importlib import import_module

from mmengine.registry import Registry

import hiera_dense
from hiera_dense import registry

# The parts of the first page: a part of the package, and its heading.
PARTS = {
    "model": "Networks",
    "weights": "Weights",
    "predict": "Trained models",
    "recipes": "Recipes",
    "errors": "Errors",
}


def public_names() -> str:
    """The page about the names of `hiera_dense`, in Markdown."""
    parts = [
        "# Python",
        "What `from hiera_dense import NAME` gives. `HieraBackbone` is among the "
        "[types in configs](config-types.md).",
    ]
    items = [getattr(hiera_dense, name) for name in hiera_dense.__all__]
    for part, heading in PARTS.items():
        parts.append(f"## {heading}")
        here = [item for item in items if item.__module__.split(".")[1] == part]
        parts += [_entry(item.__name__, item) for item in here]
    return "\n\n".join(parts) + "\n"


def types_of_configs() -> str:
    """The page about what configs name, in Markdown."""
    parts = [
        "# Types in configs",
        "What a config of MMDetection or MMSegmentation can name with the prefix `hiera_dense.`, "
        "such as `type='hiera_dense.HieraBackbone'`. Nothing has to be imported.",
    ]
    for child in vars(registry).values():
        if not isinstance(child, Registry) or child.scope != "hiera_dense":
            continue
        for location in child._locations:
            import_module(location)
        parts.append(f"## {child.name.capitalize()}")
        parts += [_entry(name, item) for name, item in sorted(child.module_dict.items())]
    return "\n\n".join(parts) + "\n"


def _entry(name: str, item: type) -> str:
    """Where mkdocstrings finds a docstring, and the name to show it under."""
    place = f"{item.__module__}.{item.__qualname__}"
    if not place.startswith("hiera_dense."):
        return f"### {name}\n\n`{place}`."
    return f"::: {place}\n    options:\n      heading: {name}\n      toc_label: {name}"
