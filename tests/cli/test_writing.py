"""What commands write is whole, or not there, and a second try works."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.common import ROOT, small_network

from hiera_dense.errors import SetupError, WriteError
from hiera_dense.model.hiera import Hiera
from hiera_dense.writing import part_of, whole_file, whole_folder

SMALL = small_network(8, (1, 1, 1, 1))
ON_A_SMALL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
from hiera_dense.__main__ import main
sys.argv = ["hiera-dense", *sys.argv[1:]]
main()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.onnx"
    with whole_file(path) as part:
        part.write_bytes(b"graph")
        part.with_name("file.onnx.data").write_bytes(b"values")
        assert not path.exists()
    assert names(path.parent) == ["file.onnx", "file.onnx.data"]
    with whole_file(path) as part:
        part.write_bytes(b"newer")
    assert path.read_bytes() == b"newer"


def fail(part: Path, error: type[BaseException]) -> None:
    part.write_bytes(b"half")
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_fails_leaves_what_was_there(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"older")
    with pytest.raises(error), whole_file(path) as part:
        fail(part, error)
    assert names(tmp_path) == ["file"]
    assert path.read_bytes() == b"older"


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "file"
    part_of(path).mkdir()
    (part_of(path) / "file.data").write_bytes(b"left")
    with whole_file(path) as part:
        part.write_bytes(b"whole")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/proc/none/file", "No such file or directory"), ("/dev/null/file", "Not a directory")],
)
def test_a_place_that_cannot_be_written_to_is_named(path: str, reason: str) -> None:
    with (
        pytest.raises(WriteError, match=f"{path}: cannot be written: {reason}, after 0.0 MB"),
        whole_file(Path(path)) as part,
    ):
        part.write_bytes(b"")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.safetensors", "out.pth", "out.pt2", "out.onnx"])
def test_a_full_disk_is_named_and_a_second_try_works(name: str, tmp_path: Path) -> None:
    source, out = tmp_path / "weights.pth", tmp_path / "out" / name
    torch.save(Hiera(SMALL).state_dict(), source)
    command = ["convert", str(source), str(out)]
    if out.suffix in (".pt2", ".onnx"):
        if torch.__version__ < "2.9":
            pytest.skip("exports with torch 2.9 or newer")
        command = ["export", str(out), "--arch", "tiny", "--size", "64x64"]
    python = [sys.executable, "-c"]
    run = subprocess.run(
        [*python, ON_A_SMALL_DISK, *command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(f"{out}: cannot be written: File too large, after 0.1 MB, which are")
    assert "Traceback" not in run.stderr
    assert names(out.parent) == []
    again = subprocess.run(
        [sys.executable, "-m", "hiera_dense", *command], capture_output=True, cwd=ROOT, check=False
    )
    assert again.returncode == 0, again.stderr
    assert names(out.parent) == [name]


def write_page(path: Path, text: str, error: type[BaseException] | None = None) -> None:
    with whole_folder(path, ".ours") as part:
        (part / "index.html").write_text(text)
        if error:
            raise error


def test_a_folder_takes_its_place_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page"
    write_page(path, "older")
    (path / "picture.jpg").touch()
    part_of(path).mkdir()
    (part_of(path) / "left.txt").touch()  # by a process that was killed
    write_page(path, "newer")
    assert names(path) == [".ours", "index.html"]
    assert (path / "index.html").read_text() == "newer"
    assert names(path.parent) == ["page"]


@pytest.mark.parametrize(
    ("error", "raised"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError, WriteError)]
)
def test_a_folder_that_fails_leaves_what_was_there(
    error: type[BaseException], raised: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "page"
    write_page(path, "older")
    with pytest.raises(raised):
        write_page(path, "half", error)
    assert names(tmp_path) == ["page"]
    assert (path / "index.html").read_text() == "older"


def test_what_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.mkdir()
    write_page(path, "into an empty folder")
    (path / ".ours").unlink()
    with pytest.raises(SetupError, match="is a folder of other files; expected a new folder"):
        write_page(path, "over it")
    assert (path / "index.html").read_text() == "into an empty folder"
    with pytest.raises(SetupError, match="is a file; expected a new folder"):
        write_page(path / "index.html", "over it")
