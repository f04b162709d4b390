"""The command `hiera-dense`: its table, its help, and recipes called by their names."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from mmengine.config import Config
from support.common import ROOT

from hiera_dense import __main__, __version__, recipe
from hiera_dense.cli import options
from hiera_dense.errors import SetupError

RECIPE = "upernet_hiera-t_1xb4-200i_toy-128x128"
BARE = ("archs", "demo", "weights")  # have no arguments


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> None:
    monkeypatch.setattr(sys, "argv", ["hiera-dense", *args])
    __main__.main()


def test_the_installed_command_is_this_module() -> None:
    (installed,) = entry_points(group="console_scripts", name="hiera-dense")
    assert installed.value == "hiera_dense.__main__:main"


@pytest.mark.parametrize("args", [(), ("--help",), ("help",)])
def test_help_lists_every_command(
    args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, *args)
    out = capsys.readouterr().out
    files = {path.stem for path in (ROOT / "hiera_dense/cli").glob("*.py")}
    assert {__main__.module_of(name) for name in __main__.COMMANDS} == files - {
        "__init__",
        "options",
        "parser",
        "start",
    }
    assert all(f"\n  {name}" in out and what in out for name, what in __main__.COMMANDS.items())


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_the_help_of_a_command_shows_an_example(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, name, "--help")
    assert end.value.code == 0
    example = capsys.readouterr().out.partition("example:\n")[2].strip()
    assert example.startswith(f"hiera-dense {name}")
    assert (example == f"hiera-dense {name}") == (name in BARE)
    for word in example.split():
        is_recipe = "_hiera-" in word or "-own-data" in word
        assert not is_recipe or Path(recipe(word)).is_file()


def test_version_and_unknown_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--version")
    assert capsys.readouterr().out == f"{__version__}\n"
    with pytest.raises(SystemExit, match="hiera-dense test: no such command; expected train, eval"):
        run(monkeypatch, "test")


def test_a_recipe_is_called_by_its_name(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIERA_DENSE_DATA", "")
    parser = options.run_parser("", "")
    cfg = options.load_config(parser.parse_args([RECIPE, "--data", str(toy / "segments")]))
    assert cfg.filename == str(ROOT / f"configs/demo/{RECIPE}.py")
    assert cfg.work_dir == f"work_dirs/{RECIPE}"
    for said in (f"{RECIPE}.py", f"demo/{RECIPE}", f"configs/demo/{RECIPE}.py"):
        assert parser.parse_args([said]).config.endswith(f"configs/demo/{RECIPE}.py")
    for said in ("upernet_swin-t", "nowhere/config.py"):
        with pytest.raises(SetupError, match="no such file, and no config"):
            parser.parse_args([said])


def test_a_file_comes_before_a_recipe_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(f"{RECIPE}.py").write_text("own = True\n")
    args = options.run_parser("", "").parse_args([f"{RECIPE}.py"])
    assert Config.fromfile(args.config).own


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [("-m", "hiera_dense", "archs"), ("tools/train.py", "--help"), ("tools/test.py", "--help")],
)
def test_other_ways_to_the_same_commands(start: tuple[str, ...]) -> None:
    said = subprocess.run(
        [sys.executable, *start], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert "base_plus" in said if "archs" in start else f"usage: {start[0][6:]}" in said
