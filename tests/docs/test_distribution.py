"""The image, the workflows of CI, and what is published: what no tool of `make lint` looks at."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.common import ROOT

import hiera_dense

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONS = [*WORKFLOWS, *(ROOT / ".github/actions").glob("*/action.yml")]


def instructions() -> list[list[str]]:
    """Of each stage of the Dockerfile its instructions, continued lines joined."""
    text = (ROOT / "docker/Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    starts = [i for i, line in enumerate(lines) if line.startswith("FROM ")]
    return [lines[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]


def test_the_image_has_no_compiler_and_does_not_run_as_root() -> None:
    base, build, final = instructions()
    assert any("requirements/install.sh" in line for line in build)
    assert not any("g++" in line or "requirements/" in line for line in (*base, *final))
    users = [line.split()[1] for line in final if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("root", "0")
    assert final[-2:] == ['ENTRYPOINT ["hiera-dense"]', 'CMD ["--help"]']
    assert 'VOLUME ["/data", "/runs"]' in final


def test_opencv_loads_where_the_stack_is_installed_and_where_it_runs() -> None:
    """`install.sh` ends with importing the hosts, in the stage that builds."""
    base, build, final = instructions()
    assert base[0].endswith(" AS base")
    assert any("libgl1 libglib2.0-0" in line for line in base)
    assert build[0].startswith("FROM base ")
    assert final[0] == "FROM base"


def test_bases_of_the_image_are_of_a_patch_release() -> None:
    text = (ROOT / "docker/Dockerfile").read_text()
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.M))
    stages = [stage[0].split() for stage in instructions()]
    own = {words[3] for words in stages if words[2:3] == ["AS"]}
    bases = [words[1].strip("${}") for words in stages if words[1] not in own]
    assert bases
    assert all(re.search(r":\d+\.\d+\.\d+-", defaults[base]) for base in bases)


def test_copied_files_reach_the_builder() -> None:
    """A file that .dockerignore leaves out fails where the image is built."""
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignore if line.startswith("!")}
    setup = (ROOT / "setup.py").read_text()
    read = set(re.findall(r'ROOT / "([\w.-]+\.\w+)"', setup))
    assert {*read, "requirements", "mmcv_ops", "hiera_dense", "configs", "tools"} <= kept
    assert all((ROOT / name).exists() for name in kept)


def steps(path: Path) -> list[dict[str, Any]]:
    content = yaml.safe_load(path.read_text())
    if "runs" in content:
        return content["runs"]["steps"]
    return [step for job in content["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.stem)
def test_actions_are_pinned_to_a_commit(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    own = [name for name in used if name.startswith("./")]
    assert used
    assert all((ROOT / name / "action.yml").is_file() for name in own)
    others = [name for name in used if name not in own]
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name) for name in others)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert content["permissions"] == {"contents": "read"}
    rights = [job.get("permissions", {}) for job in content["jobs"].values()]
    assert [right for right in rights if right] == (
        [{"id-token": "write"}] if path.stem == "release" else []
    )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_is_there(path: Path) -> None:
    text = path.read_text()
    targets = set(re.findall(r"make ([a-z-]+)", text))
    targets.update(*(names.split(", ") for names in re.findall(r"target: \[(.*)\]", text)))
    listed = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert targets - {"docs"} <= listed
    scripts = re.findall(r"requirements/\w+\.sh", text)
    assert targets or scripts
    assert all((ROOT / script).is_file() for script in scripts)


def test_the_citation_names_this_version() -> None:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert content["version"] == hiera_dense.__version__
    readme = (ROOT / "README.md").read_text()
    assert all(work["url"] in readme for work in content["references"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "expected onedl or openmmlab"),
        (["onedl", "none"], "expected compiled or torchvision"),
        (["onedl", "compiled", "all"], "expected develop or stack"),
    ],
)
def test_install_refuses_what_it_does_not_know(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to("/bin/true")
    command = ["sh", ROOT / "requirements/install.sh", tmp_path, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert message in run.stderr
