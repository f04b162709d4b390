"""The notebook of the tutorial: it names what exists, shows nothing private, and runs."""

import ast
import re

import pytest
from nbformat import NotebookNode
from support.common import ROOT

import hiera_dense
from hiera_dense.__main__ import COMMANDS
from hiera_dense.recipes import recipe
from tools.site import commands, notebook


def code_cells() -> list[NotebookNode]:
    return [cell for cell in notebook.read().cells if cell.cell_type == "code"]


def calls() -> list[tuple[str, list[str]]]:
    """The commands that the notebook runs, with their arguments."""
    found = []
    for cell in code_cells():
        source = cell.source.replace("\\\n", " ")
        lines = re.findall(r"^!hiera-dense (.*)$", source, re.MULTILINE)
        lines += [
            " ".join(re.findall(r'"([^"]+)"', listed))
            for listed in re.findall(r'\["hiera-dense", (.*?)\]', source)
        ]
        found += [(words[0], words[1:]) for words in map(str.split, lines)]
    return found


def test_commands_and_options_exist() -> None:
    assert {"draw-data", "look", "train", "report", "predict", "export", "serve"} == {
        command for command, _ in calls()
    }
    for command, words in calls():
        assert command in COMMANDS
        options = {word for word in words if word.startswith("--")}
        assert options <= set(re.findall(r"--[a-z-]+", commands.help_of(command))), command
        if command == "train":
            recipe(words[0])


def test_names_of_the_package_exist() -> None:
    for cell in code_cells():
        plain = "\n".join(line for line in cell.source.splitlines() if line[:1] not in "! ")
        for name in re.findall(r"^from hiera_dense import (\w+)$", plain, re.MULTILINE):
            assert name in hiera_dense.__all__
        if not cell.source.startswith("!"):
            ast.parse(re.sub(r"^!.*(\\\n.*)*$", "", cell.source, flags=re.MULTILINE))


def test_outputs_are_kept_and_show_nothing_of_a_machine() -> None:
    shown = [cell for cell in code_cells() if "!" in cell.source or "print(" in cell.source]
    assert len(shown) >= 8
    assert all(cell.outputs for cell in shown)
    texts = [output.get("text", "") for cell in shown for output in cell.outputs]
    for text in texts:
        assert not re.search(r"/(tmp|home|root|work|Users|usr)/|https?://", text), text
        assert "Traceback" not in text
    assert notebook.NOTEBOOK.stat().st_size < 600_000


def test_the_page_on_the_site_has_text_code_and_pictures() -> None:
    text, pictures = notebook.as_page(notebook.read())
    assert text.startswith("# ")
    assert "```python" in text
    assert len(pictures) >= 3
    assert all(f"({place})" in text for place in pictures)
    page = notebook.with_buttons(text, "https://github.com/a/b/blob/main")
    assert "/github/a/b/blob/main/docs/tutorial.ipynb)" in page
    assert "colab" not in notebook.with_buttons(text, "")


def test_a_parameter_that_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError, match="STEPS; expected one of TRAIN_IMAGES, VAL_IMAGES"):
        notebook.set_parameters(notebook.read(), STEPS=1)


@pytest.mark.slow
def test_it_runs() -> None:
    short = notebook.read()
    notebook.set_parameters(short, TRAIN_IMAGES=6, VAL_IMAGES=3, ITERATIONS=2)
    notebook.run(short)
    notebook.tidy(short)
    printed = [o.text for c in short.cells for o in c.get("outputs", ()) if "text" in o]
    assert any("model.onnx: " in text for text in printed)
    assert any(text.startswith("ok ") for text in printed)
    assert str(ROOT) not in "".join(printed)
