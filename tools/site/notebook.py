"""Runs the notebook of the documentation, and keeps what it shows.

    python -m tools.site.notebook

It runs in a folder that is removed afterwards. docs/tutorial.ipynb gets the outputs.
"""

import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbformat import NotebookNode

from hiera_dense.writing import whole_file

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs/tutorial.ipynb"


def read() -> NotebookNode:
    """The notebook in docs/."""
    return nbformat.read(NOTEBOOK, as_version=4)


def set_parameters(notebook: NotebookNode, **parameters: int) -> None:
    """Give the cell with the tag `parameters` other values.

    Raises:
        KeyError: The cell does not assign such a name.
    """
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    lines = dict(line.split(" = ") for line in cell.source.splitlines())
    for name, value in parameters.items():
        if name not in lines:
            raise KeyError(f"{name}; expected one of {', '.join(lines)}")
        lines[name] = str(value)
    cell.source = "\n".join(f"{name} = {value}" for name, value in lines.items())


def run(notebook: NotebookNode) -> None:
    """Run all cells, in a new folder, with this clone and this Python; the outputs are kept.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    paths = {"PATH": Path(sys.executable).parent, "PYTHONPATH": ROOT}
    environment = {
        name: os.pathsep.join(filter(None, (str(path), os.environ.get(name))))
        for name, path in paths.items()
    }
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=None,  # a training may wait long on a machine that does other things too
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        client.execute(env=os.environ | environment)


def tidy(notebook: NotebookNode) -> None:
    """Leave out what libraries warn of, and the codes that move a terminal's cursor."""
    for cell in notebook.cells:
        kept = [o for o in cell.get("outputs", ()) if o.get("name") != "stderr"]
        for output in kept:
            if "text" in output:
                output.text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.text)
        if cell.cell_type == "code":
            cell.outputs = kept


def as_page(notebook: NotebookNode) -> tuple[str, dict[str, bytes]]:
    """The notebook in Markdown, and the pictures in it by their paths on the site."""
    exporter = MarkdownExporter()
    text, resources = exporter.from_notebook_node(notebook, {"output_files_dir": "tutorial"})
    return text, resources["outputs"]


def with_buttons(text: str, repository: str) -> str:
    """The page with links to the notebook itself, below its heading.

    Args:
        text: Markdown.
        repository: As in `tools.site.links.to_site`. Colab opens notebooks from GitHub only.
    """
    heading, _, rest = text.partition("\n")
    buttons = ["[Download the notebook](tutorial.ipynb)"]
    if repository.startswith("https://github.com/"):
        path = repository.removeprefix("https://github.com/").rstrip("/")
        colab = f"https://colab.research.google.com/github/{path}/docs/tutorial.ipynb"
        buttons.append(f"[Open in Colab]({colab})")
    return f"{heading}\n\n{' · '.join(buttons)}\n{rest}"


def main() -> None:
    notebook = read()
    run(notebook)
    tidy(notebook)
    with whole_file(NOTEBOOK) as part:
        nbformat.write(notebook, part)


if __name__ == "__main__":
    main()
