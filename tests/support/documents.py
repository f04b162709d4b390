"""What documents hold."""

import re
from collections.abc import Iterator
from pathlib import Path

from support.common import ROOT


def examples(page: str) -> list[str]:
    """The Python of a page, by its path from the root."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def links(page: Path) -> Iterator[tuple[Path | None, str]]:
    """The files that a page links to, and the anchors in them; None: the page itself."""
    for path, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
        if "://" not in path:
            yield page.parent / path if path else None, anchor


def anchors(page: Path) -> set[str]:
    """Of all headings of a page, as hosts of repositories make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-"))
    return found
