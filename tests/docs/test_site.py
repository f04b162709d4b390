"""The site of the documents: all pages are in it, and it shows what the package has."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mkdocs.config import load_config
from support.common import ROOT
from support.documents import anchors, links

from hiera_dense.__main__ import COMMANDS
from tools.site import commands, flow, hooks
from tools.site import links as site_links

MADE = {"commands.md", "api.md", "config-types.md"}
PAGES = site_links.pages(ROOT)


def nav() -> set[str]:
    """The pages in the navigation of mkdocs.yml."""
    found: set[str] = set()

    def collect(entry: object) -> None:
        if isinstance(entry, str):
            found.add(entry)
        elif isinstance(entry, dict):
            collect(list(entry.values()))
        elif isinstance(entry, list):
            for part in entry:
                collect(part)

    collect(load_config(str(ROOT / "mkdocs.yml")).nav)
    return found


def test_every_page_is_in_the_navigation() -> None:
    assert nav() == {*PAGES.values(), *MADE}


def test_pages_with_an_order_in_search_exist() -> None:
    assert set(hooks.BOOSTS) <= nav()


@pytest.mark.parametrize("page", [path for path in PAGES if path.endswith(".md")])
def test_anchors_of_links_are_headings(page: str) -> None:
    lost = []
    for target, anchor in links(ROOT / page):
        file = target or ROOT / page
        if anchor and file.suffix == ".md" and anchor not in anchors(file):
            lost.append(f"{file.name}#{anchor}")
    assert not lost


@pytest.mark.parametrize("page", [path for path in PAGES if path.startswith("docs/")])
def test_commands_of_a_page_have_the_options_that_it_names(page: str) -> None:
    text = (ROOT / page).read_text().replace("\\\n", " ")
    for command, rest in re.findall(r"^\W*hiera-dense ([a-z-]+) ([^\n`#|]*)", text, re.MULTILINE):
        assert command in COMMANDS, command
        known = re.findall(r"--[a-z-]+", commands.help_of(command))
        unknown = set(re.findall(r"(?<!\S)\[?(--[a-z][a-z-]*)", rest)) - {*known, "--help"}
        assert not unknown, f"hiera-dense {command}: {unknown}"


def test_the_help_of_each_command_is_shown() -> None:
    page = commands.page()
    for command in COMMANDS:
        assert f"\n## {command}\n\n```text\nusage: hiera-dense {command} " in page
    assert max(map(len, page.splitlines())) <= 120


MARKDOWN = """
[page](predict.md#from-python), [config](../configs/mask_rcnn/README.md), [`code`](../setup.py), [out](https://a.b/c)
![picture](demo.jpg), [folder](../tests/docs), [here](#there), [readme](../README.md)

```python
x = [text](../setup.py)
```
"""


@pytest.mark.parametrize(
    ("repository", "file"),
    [
        ("", "[`code`](files/setup.py.txt)"),
        ("https://host/a/b/blob/main", "[`code`](https://host/a/b/blob/main/setup.py)"),
    ],
)
def test_links_go_to_the_site_else_to_the_repository(repository: str, file: str) -> None:
    text = site_links.to_site(MARKDOWN, "docs/own-data.md", ROOT, repository)
    for link in (
        "[page](predict.md#from-python)",
        "[config](recipes/mask_rcnn.md)",
        file,
        "[out](https://a.b/c)",
        "![picture](demo.jpg)",
        "[here](#there)",
        "[readme](index.md)",
        "x = [text](../setup.py)",
    ):
        assert link in text
    folder = "https://host/a/b/blob/main/tests/docs"
    assert (f"[folder]({folder})" if repository else "folder (`tests/docs/` in the") in text
    assert site_links.outside(MARKDOWN, "docs/own-data.md", ROOT) == {"setup.py"}


def test_links_from_a_folder_of_the_site_lead_up() -> None:
    text = "[a](../../docs/weights.md#layouts) [b](base.py) [c](../dino/README.md)"
    page = "configs/mask_rcnn/README.md"
    (ROOT / "configs/mask_rcnn/README.md").stat()
    shown = site_links.to_site(text.replace("base.py", "metafile.yml"), page, ROOT)
    copy = "../files/configs/mask_rcnn/metafile.yml.txt"
    assert shown == f"[a](../weights.md#layouts) [b]({copy}) [c](dino.md)"


def test_a_flowchart_has_its_boxes_and_arrows() -> None:
    picture = flow.draw("flowchart RL\n  a --> b --> c\n  a --> c\n")
    assert re.findall(r"<text[^>]*>(\w)</text>", picture) == ["a", "b", "c"]
    assert picture.count("<line") == 3
    boxes = dict(zip("abc", re.findall(r'<rect x="(\d+)" y="(\d+)"', picture), strict=True))
    assert int(boxes["c"][0]) < int(boxes["b"][0]) < int(boxes["a"][0])


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) >= len(nav())
    loaded = re.compile(r"<(?:script|img|iframe|source)[^>]*\bsrc=\"?(\S+)|<link([^>]*)>")
    for page in pages:
        for source, link in loaded.findall(page.read_text()):
            assert not source.startswith(("http", "//")), f"{page.name}: {source}"
            assert "://" not in link or "canonical" in link, f"{page.name}: {link}"
    styles = "".join(path.read_text() for path in tmp_path.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(http|//)", styles)
    assert "backbone" in (tmp_path / "search/search_index.json").read_text()
