"""Recipes of an installed package are found, and one's own config inherits from them."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from mmengine.config import Config
from support.common import ROOT

from hiera_dense import recipes
from hiera_dense.cli import recipes as command

NAME = "mask_rcnn/mask-rcnn_hiera-b_fpn_8xb2-amp-1x_coco.py"


def test_a_config_is_found_by_its_path_or_its_name() -> None:
    expected = str(ROOT / "configs" / NAME)
    assert recipes.folder() == ROOT
    for name in (NAME, NAME.removesuffix(".py"), Path(NAME).name, Path(NAME).stem):
        assert recipes.recipe(name) == expected


def test_an_unknown_name_is_told_with_those_that_are_near() -> None:
    with pytest.raises(FileNotFoundError, match=r"no config 'upernet_swin'.* expected .*/upernet_"):
        recipes.recipe("upernet_swin")
    with pytest.raises(FileNotFoundError, match="expected one of its files"):
        recipes.recipe("yolo_hiera-b.py")


def test_the_command_line_prints_the_folder_or_configs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for args, expected in (
        (["--folder"], [str(ROOT)]),
        (["mask-rcnn_hiera-b_*-1x_coco"], [Path(NAME).stem]),
    ):
        monkeypatch.setattr(sys, "argv", ["recipes", *args])
        command.main()
        assert capsys.readouterr().out.splitlines() == expected
    monkeypatch.setattr(sys, "argv", ["recipes", "/nothing*"])
    with pytest.raises(SystemExit, match="no config matches"):
        command.main()


def test_a_wheel_holds_all_that_an_installed_user_needs(tmp_path: Path) -> None:
    """Built and unpacked; from there a config inherits from a recipe, and finds its bases."""
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    build += ["--disable-pip-version-check", "--wheel-dir", tmp_path, tmp_path / "source"]
    source = tmp_path / "source"
    source.mkdir()
    for entry in ROOT.iterdir():  # a build would leave its folder beside setup.py
        if not entry.name.startswith(".") and entry.name not in ("build", "work_dirs", "data"):
            (source / entry.name).symlink_to(entry)
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    tracked = subprocess.run(
        ["git", "ls-files", "configs", "tools", "model-index.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(installed)
    tools = ("tools/bench/", "tools/site/", "tools/zoo/")
    of_a_clone = [name for name in tracked if name.startswith(tools)]
    assert of_a_clone
    mim = {name.removeprefix("hiera_dense/.mim/") for name in names if "/.mim/" in name}
    assert mim == set(tracked) - set(of_a_clone)
    wings = {path.parent.name for path in (ROOT / "hiera_dense").glob("*/__init__.py")}
    assert {f"hiera_dense/{wing}/__init__.py" for wing in wings} <= names
    assert not [name for name in names if "__pycache__" in name]
    own = tmp_path / "own.py"
    own.write_text(
        f'_base_ = __import__("hiera_dense").recipe("{NAME}")\n'
        "model = dict(backbone=dict(drop_path_rate=0.3))\n"
    )
    code = f"from mmengine.config import Config; print(Config.fromfile({str(own)!r}).filename)"
    code += "; from hiera_dense import recipes; print(recipes.folder())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == str(installed / "hiera_dense" / ".mim")
    cfg = Config.fromfile(own)
    assert cfg.model.backbone.arch == "base"
    assert cfg.model.backbone.drop_path_rate == 0.3
