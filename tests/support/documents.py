"""What documents hold."""

import re

from support.common import ROOT


def examples(page: str) -> list[str]:
    """The Python of a page, by its path from the root."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
