"""Links of the documents, from how they lie in the repository to how they lie on the site.

In the repository, pages link to each other and to files by relative paths. On the site, a link to
a page goes to that page. A link to another file goes to the public repository if its address is
known, else to a copy of the file on the site.
"""

import re
from collections.abc import Callable
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

COPIES = "files"  # the folder of the site with copies of files
_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^()\s]+)\)")
_CODE = re.compile(r"(^ *```.*?^ *```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def pages(root: Path) -> dict[str, str]:
    """Where each page of the repository is on the site: its path here, its path there."""
    found = {
        "README.md": "index.md",
        "CONTRIBUTING.md": "contributing.md",
        "CHANGELOG.md": "changelog.md",
        "docs/tutorial.ipynb": "tutorial.md",
    }
    found |= {f"docs/{path.name}": path.name for path in root.glob("docs/*.md")}
    for path in root.glob("configs/*/README.md"):
        found[f"configs/{path.parent.name}/README.md"] = f"recipes/{path.parent.name}.md"
    return found


def _map_links(text: str, change: Callable[[str, str], str]) -> str:
    """Replace each link of a page, outside of code; `change` gets its text and its target."""
    parts = _CODE.split(text)
    # A link around code, [`name`](path), is cut in two: code is put back before links are sought.
    kept: list[str] = []
    for number, part in enumerate(parts):
        if number % 2:
            kept.append(part)
            parts[number] = f"\0{len(kept) - 1}\0"
    changed = _LINK.sub(lambda m: change(m[1], m[2]), "".join(parts))
    return re.sub(r"\0(\d+)\0", lambda m: kept[int(m[1])], changed)


def _target(link: str, page: str) -> tuple[str, str] | None:
    """The path from the root that a link of a page leads to, and its anchor; None: not a path."""
    path, _, anchor = link.partition("#")
    if "://" in link or link.startswith("mailto:") or not path:
        return None
    return normpath(join(dirname(page), path)), f"#{anchor}" if anchor else ""


def outside(text: str, page: str, root: Path) -> set[str]:
    """The files that a page links to and that are not part of the site, by paths from the root."""
    on_site = pages(root)
    found = set()

    def note(label: str, link: str) -> str:
        target = _target(link, page)
        if target and target[0] not in on_site and not target[0].startswith("docs/"):
            found.add(target[0])
        return label

    _map_links(text, note)
    return {path for path in found if (root / path).is_file()}


def to_site(text: str, page: str, root: Path, repository: str = "") -> str:
    """A page with its links as the site needs them.

    Args:
        text: Markdown.
        page: The page's path from the root of the repository.
        root: Of the repository.
        repository: The address at which the files of the repository can be seen, such as
            https://HOST/OWNER/NAME/blob/main; empty: there is none, links go to copies.
    """
    on_site = pages(root)
    here = dirname(on_site[page])

    def change(label: str, link: str) -> str:
        target = _target(link, page)
        if target is None:
            return f"{label}({link})"
        path, anchor = target
        if path in on_site:
            place = on_site[path]
        elif path.startswith("docs/"):
            place = path.removeprefix("docs/")
        elif repository:
            return f"{label}({repository.rstrip('/')}/{path}{anchor})"
        elif (root / path).is_file():
            place = f"{COPIES}/{path}.txt"
        else:  # a folder
            return f"{label[1:-1]} (`{path}/` in the repository)"
        return f"{label}({relpath(place, here or '.')}{anchor})"

    return _map_links(text, change)
