"""Hooks of MkDocs: pages that are made when the site is built, and links that lead somewhere.

mkdocs.yml names this file. The documents stay as they are in the repository.
"""

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.site import commands, links, notebook, reference

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
WIDE = ("recipes/", "model_zoo", "weights")  # pages whose tables get the room of their contents
# The order of pages in search: answers first; the architecture and the changelog name everything.
BOOSTS = {"questions.md": 3.0, "architecture.md": 0.3, "changelog.md": 0.3}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in docs/."""
    made: dict[str, str | bytes] = {
        "commands.md": commands.page(),
        "api.md": reference.public_names(),
        "config-types.md": reference.types_of_configs(),
        "site.css": (HERE / "site.css").read_text(),
    }
    text, pictures = notebook.as_page(notebook.read())
    made |= pictures
    texts = {page: (ROOT / page).read_text() for page in links.pages(ROOT)}
    texts["docs/tutorial.ipynb"] = text
    for page, place in links.pages(ROOT).items():
        if files.get_file_from_path(place) is None:
            made[place] = texts[page]
    if not config.extra["repository"]:
        linked = {path for page in texts for path in links.outside(texts[page], page, ROOT)}
        made |= {f"{links.COPIES}/{path}.txt": (ROOT / path).read_bytes() for path in linked}
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Turn the links of a document into links of the site."""
    names = {place: path for path, place in links.pages(ROOT).items()}
    path = names.get(page.file.src_uri)
    if path is None:
        return markdown
    if page.file.src_uri.startswith(WIDE):
        page.meta["hide"] = ["toc"]
    if page.file.src_uri in BOOSTS:
        page.meta["search"] = {"boost": BOOSTS[page.file.src_uri]}
    text = links.to_site(markdown, path, ROOT, config.extra["repository"])
    if path == "docs/tutorial.ipynb":
        return notebook.with_buttons(text, config.extra["repository"])
    return text
