"""Which module imports what, and what that loads; how hosts find the backbone."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT

import hiera_dense

HOSTS = ("mmcv", "mmdet", "mmseg")


def loaded_after(code: str) -> set[str]:
    """Top-level modules that are loaded after running some code."""
    code += "; import sys; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def modules_of(*wings: str) -> list[str]:
    return [
        f"hiera_dense.{wing}.{path.stem}"
        for wing in wings
        for path in sorted((ROOT / "hiera_dense" / wing).glob("*.py"))
    ]


@pytest.mark.parametrize(
    ("absent", "modules"),
    [
        (
            ("torch", "timm", "mmengine", *HOSTS),
            [
                *("hiera_dense", "hiera_dense.__main__", "hiera_dense.model.variants"),
                *("hiera_dense.weights.catalog", "hiera_dense.mm.recipes", *modules_of("data")),
            ],
        ),
        (("timm", "mmengine", *HOSTS), ["hiera_dense.model.windows", "hiera_dense.mm.merging"]),
        (
            ("mmengine", *HOSTS),
            [*modules_of("model", "weights"), "hiera_dense.original", "hiera_dense.cli.convert"],
        ),
        (HOSTS, modules_of("mm", "predict", "cli")),
    ],
    ids=["nothing", "torch", "torch-timm", "mmengine"],
)
def test_modules_load_no_more_than_they_may(absent: tuple[str, ...], modules: list[str]) -> None:
    code = "; ".join(f"import {module}" for module in modules)
    assert not loaded_after(code).intersection(absent)


def drawn_arrows() -> dict[str, set[str]]:
    """Of each wing those that it may import, by the picture in docs/architecture.md."""
    text = (ROOT / "docs/architecture.md").read_text()
    picture = re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)
    assert picture
    arrows: dict[str, set[str]] = {}
    for line in picture[1].splitlines()[1:]:
        for wing, end in pairwise(line.strip().split(" --> ")):
            arrows.setdefault(wing, set()).add(end)
    order = TopologicalSorter(arrows).static_order()  # raises where arrows go in a circle
    allowed: dict[str, set[str]] = {}
    for wing in order:
        ends = arrows.get(wing, set())
        allowed[wing] = ends.union(*(allowed[end] for end in ends))
    return allowed


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """Modules of this package that a file imports, and whether it does when it is imported."""
    tree = ast.parse(path.read_text())
    late = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hiera_dense."):
            places = [node.module]
            if node.module in WINGS:  # from hiera_dense.wing import module
                places = [f"{node.module}.{alias.name}" for alias in node.names]
            for place in places:
                assert place
                yield place, node not in late


WINGS = tuple(f"hiera_dense.{wing}" for wing in drawn_arrows())
THE_WAY_BACK = ("model/hub_model.py", "weights")  # when a model is asked for its weights


def test_every_file_lies_in_a_wing_that_is_drawn() -> None:
    folders = {path.parent.name for path in (ROOT / "hiera_dense").glob("*/__init__.py")}
    assert folders == set(drawn_arrows())


def test_wings_import_what_the_picture_allows() -> None:
    allowed = drawn_arrows()
    for wing in allowed:
        for path in (ROOT / "hiera_dense" / wing).glob("*.py"):
            ends = {(place.split(".")[1], now) for place, now in imports_of(path)}
            for end, now in ends - {(wing, True), (wing, False)}:
                way_back = (f"{wing}/{path.name}", end) == THE_WAY_BACK and not now
                ours = end == "registry" and wing == "mm"
                assert end in allowed[wing] or way_back or ours, f"{path}: {end}"


def test_files_of_a_wing_import_each_other_one_way() -> None:
    for wing in drawn_arrows():
        arrows = {
            f"hiera_dense.{wing}.{path.stem}": {place for place, _ in imports_of(path)}
            for path in (ROOT / "hiera_dense" / wing).glob("*.py")
        }
        own = {name: ends & set(arrows) for name, ends in arrows.items()}
        list(TopologicalSorter(own).static_order())  # raises where arrows go in a circle


def test_public_names_come_when_they_are_asked_for() -> None:
    assert set(hiera_dense.__all__) <= set(dir(hiera_dense))
    for name in hiera_dense.__all__:
        assert getattr(hiera_dense, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Swin'"):
        _ = hiera_dense.Swin


@pytest.mark.parametrize("host", ["mmdet", "mmseg"])
def test_a_host_finds_the_scope_with_nothing_imported(host: str) -> None:
    code = (
        f"from {host}.registry import MODELS; "
        "model = MODELS.build(dict(type='hiera_dense.HieraBackbone', arch='tiny')); "
        "assert type(model).__module__ == 'hiera_dense.mm.backbone'; "
        "assert MODELS.get('hiera_dense.LN2d')"
    )
    assert host in loaded_after(code)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "ModuleNotFoundError: no mmengine; hiera_dense works with mmengine 0.10 or newer"),
        ("0.9.1", "ImportError: mmengine 0.9.1 is too old; hiera_dense works with mmengine 0.10"),
    ],
)
def test_mmengine_missing_or_too_old(found: str | None, message: str) -> None:
    pretended = "sys.modules['mmengine'] = None"
    if found:
        pretended = f"import mmengine; mmengine.__version__ = '{found}'"
    code = f"import sys; {pretended}; import hiera_dense.mm.backbone"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith(message)
    assert "Install" in run.stderr.splitlines()[-1]
