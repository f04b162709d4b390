"""Which module imports what, and what that loads; how hosts find the backbone."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from mmengine.registry import Registry
from support.common import ROOT

import hiera_dense
from hiera_dense import registry

HOSTS = ("mmcv", "mmdet", "mmseg")
# Of predict/: what NumPy and Pillow suffice for.
OUTPUTS = ("results", "palette", "drawing", "formats", "video", "savers", "outputs")
EXPORTED = ("predictor", "onnx_model", "pasting")  # and onnxruntime, when a model is opened
# It derives from classes of mmdet, and is imported when a config of mmdet names them.
OF_HOSTS = ("hiera_dense.mm.mask_crops",)
LIGHT = ("archs", "weights", "recipes", "check_data", "import_", "draw_data", "demo")  # commands


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
                *(
                    "hiera_dense.weights.catalog",
                    "hiera_dense.recipes",
                    *modules_of("data", "labels"),
                ),
                *(f"hiera_dense.cli.{name}" for name in LIGHT),
            ],
        ),
        (
            ("torch", "timm", "mmengine", "cv2", "pycocotools", "av", "supervision", *HOSTS),
            [f"hiera_dense.predict.{name}" for name in (*OUTPUTS, *EXPORTED)],
        ),
        (("timm", "mmengine", *HOSTS), ["hiera_dense.model.windows", "hiera_dense.mm.merging"]),
        (
            ("mmengine", *HOSTS),
            [
                *modules_of("model", "weights"),
                *("hiera_dense.original", "hiera_dense.timm", "hiera_dense.torchvision"),
                *("hiera_dense.transformers", "hiera_dense.cli.convert"),
            ],
        ),
        (HOSTS, sorted({*modules_of("mm", "predict", "deploy", "report", "cli")} - {*OF_HOSTS})),
    ],
    ids=["nothing", "outputs", "torch", "torch-timm", "mmengine"],
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
        places: list[str] = []
        if isinstance(node, ast.Import):
            places = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            packages = ("hiera_dense", *WINGS)  # from hiera_dense.wing import module
            names = [f"{module}.{alias.name}" for alias in node.names]
            places = names if module in packages else [module]
        for place in places:
            if place.startswith("hiera_dense."):
                yield place, node not in late


WINGS = tuple(f"hiera_dense.{wing}" for wing in drawn_arrows())
THE_WAY_BACK = ("model/hub_model.py", "weights")  # when a model is asked for its weights
# Files that lie in no wing, and those that may import them.
TOP = {
    "__init__": (),
    "__main__": (),
    "errors": (
        "model",
        "weights",
        "data",
        "labels",
        "mm",
        "predict",
        "deploy",
        "report",
        "serve",
        "cli",
    ),
    "original": (),
    "recipes": ("mm", "cli"),
    "timm": (),
    "torchvision": (),
    "transformers": (),
    "registry": ("mm", "cli"),
    "writing": ("weights", "data", "labels", "mm", "predict", "report", "cli"),
}


def test_every_file_has_its_place() -> None:
    package = ROOT / "hiera_dense"
    assert {path.parent.name for path in package.glob("*/__init__.py")} == set(drawn_arrows())
    assert {path.stem for path in package.glob("*.py")} == set(TOP)
    assert not list(package.glob("*/*/*.py"))


def test_wings_import_what_the_picture_allows() -> None:
    used = set()
    for wing, allowed in drawn_arrows().items():
        for path in (ROOT / "hiera_dense" / wing).glob("*.py"):
            for place, now in imports_of(path):
                end = place.split(".")[1]
                if end == wing or ((f"{wing}/{path.name}", end) == THE_WAY_BACK and not now):
                    continue
                used.add((wing, end))
                assert end in allowed or wing in TOP.get(end, ()), f"{path}: {place}"
    drawn = {(wing, end) for wing, ends in drawn_arrows().items() for end in ends}
    # What follows from other arrows need not be used.
    assert {("weights", "model"), ("mm", "weights"), ("mm", "data"), ("predict", "mm")} <= used
    assert {end for wing, end in drawn if wing == "cli"} <= {e for w, e in used if w == "cli"}


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


def test_the_registries_name_modules_that_are_there() -> None:
    places = {
        place
        for child in vars(registry).values()
        if isinstance(child, Registry) and child.scope == "hiera_dense"
        for place in child._locations
    }
    assert len(places) > 8
    assert not [place for place in places if find_spec(place) is None]


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
@pytest.mark.parametrize("module", ["hiera_dense.mm.backbone", "hiera_dense.cli.train"])
def test_mmengine_missing_or_too_old(found: str | None, message: str, module: str) -> None:
    pretended = "sys.modules['mmengine'] = None"
    if found:
        pretended = f"import mmengine; mmengine.__version__ = '{found}'"
    code = f"import sys; {pretended}; import {module}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith(message)
    assert "docs/install.md" in run.stderr.splitlines()[-1]
