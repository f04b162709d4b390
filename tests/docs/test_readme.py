"""The examples of README and docs/ do what they say, and docs/ names what is there."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from support.common import ROOT
from support.documents import examples

from hiera_dense.cli import weights


def configs_of(host: str) -> Path:
    spec = find_spec(host)
    assert spec is not None
    assert spec.origin
    return Path(spec.origin).parent / ".mim" / "configs"


CONFIGS = [examples("README.md")[0], *examples("docs/configs.md")]
HOSTS = ("mmdet", "mmdet", "mmdet", "mmdet", "mmseg")


@pytest.mark.parametrize(("example", "host"), zip(CONFIGS, HOSTS, strict=True))
def test_a_hosts_own_config_becomes_one_of_ours(example: str, host: str, tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    file.write_text(example.replace('"./configs/', f'"{configs_of(host)}/'))
    cfg = Config.fromfile(file)
    assert cfg.optim_wrapper.optimizer.type == "AdamW"
    init_default_scope(host)
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert type(model.backbone).__name__ == "HieraBackbone"


@pytest.mark.parametrize("page", ["README.md", "docs/pytorch.md"])
def test_the_trunk_prints_the_shapes_that_a_page_shows(
    page: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = [text for text in examples(page) if "480, 640" in text]
    exec(example, {})
    assert f"# {capsys.readouterr().out.strip()}" in example


def test_the_documentation_of_weights_lists_them_and_tests_that_exist() -> None:
    text = (ROOT / "docs/weights.md").read_text()
    assert text.endswith(f"\n{weights.weights()}\n")
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", text)
    assert len(named) > 8
    assert all(f"def {name}(" in sources for name in named)


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("configs/*/README.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    lost = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not lost


def test_a_landing_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_operations_are_those_that_a_page_counts(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [text for text in examples("docs/large-images.md") if "FlopCounter" in text]
    exec(example, {})
    counted = float(capsys.readouterr().out)
    assert f"# {counted:.1f}" in example
    assert (
        f'| `base`, `window_spec="auto"` | 422 | {counted:.0f} |'
        in (ROOT / "docs/large-images.md").read_text()
    )
