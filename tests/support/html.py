"""Pages of HTML: what they show, and whether they open from the disk."""

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """What a page links to and shows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href") and v and v[0] != "#"]

    def handle_data(self, data: str) -> None:
        self.text += data


def check_page(path: Path) -> Page:
    """A page that needs nothing but its folder, in which nothing is left over."""
    page = Page(path)
    assert not [link for link in page.links if not (path.parent / link).is_file()]
    assert not set(page.tags) & {"script", "link", "iframe"}
    there = {file.name for file in path.parent.iterdir()}
    assert there == {*page.links, "index.html", ".hiera-dense-page"}
    return page
