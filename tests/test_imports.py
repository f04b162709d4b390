"""Which module imports what, and what that loads; how hosts find the backbone."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

HOSTS = ("mmcv", "mmdet", "mmseg")


def loaded_after(code: str) -> set[str]:
    """Top-level modules that are loaded after running some code."""
    code += "; import sys; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("absent", "modules"),
    [
        (
            ("torch", "timm", "mmengine", *HOSTS),
            (".variants", ".images", ".annotations", ".folders", ".recipes", ""),
        ),
        (("timm", "mmengine", *HOSTS), (".windows", ".detections")),
        (
            ("mmengine", *HOSTS),
            (".hiera", ".relative", ".checkpoint", ".autoencoder", ".classification", ".original"),
        ),
        (
            HOSTS,
            (
                *(".backbone", ".pretrained", ".mae", ".classifier", ".image_datasets", ".norms"),
                *(".layer_decay", ".saving", ".datasets", ".metrics", ".pyramid", ".sliding"),
                *(".tta", ".sharding", ".reconstructions"),
            ),
        ),
    ],
    ids=["nothing", "torch", "torch-timm", "mmengine"],
)
def test_modules_load_no_more_than_they_may(
    absent: tuple[str, ...], modules: tuple[str, ...]
) -> None:
    code = "; ".join(f"import hiera_dense{module}" for module in modules)
    assert not loaded_after(code).intersection(absent)


def drawn_arrows() -> dict[str, set[str]]:
    """The arrows of docs/architecture.md: who imports whom."""
    text = (ROOT / "docs/architecture.md").read_text()
    lines = re.findall(r"^([a-z_, ]+?) +-> ([a-z_, ]+)$", text, re.MULTILINE)
    return {name: set(ends.split(", ")) for names, ends in lines for name in names.split(", ")}


def test_modules_import_what_the_diagram_shows() -> None:
    found = {}
    for path in (ROOT / "hiera_dense").glob("*.py"):
        nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
        ends = {n.module.split(".")[1] for n in nodes if n.module.startswith("hiera_dense.")}
        of_package = [n for n in nodes if n.module == "hiera_dense"]
        ends |= {alias.name for n in of_package for alias in n.names}
        if ends:
            found[path.stem] = ends
    assert found == drawn_arrows()


@pytest.mark.parametrize("host", ["mmdet", "mmseg"])
def test_a_host_finds_the_scope_with_nothing_imported(host: str) -> None:
    code = (
        f"from {host}.registry import MODELS; "
        "model = MODELS.build(dict(type='hiera_dense.HieraBackbone', arch='tiny')); "
        "assert type(model).__module__ == 'hiera_dense.backbone'; "
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
    code = f"import sys; {pretended}; import hiera_dense.backbone"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith(message)
    assert "Install" in run.stderr.splitlines()[-1]
