"""From a name to a file: what is understood as what, and downloads up to the network."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from hiera_dense.errors import CheckpointError
from hiera_dense.weights import download
from hiera_dense.weights.catalog import WEIGHTS

CONTENT = bytes(range(256)) * 400


class Server(http.server.BaseHTTPRequestHandler):
    """A server of one file, which can end a transfer too early, and what a hub says of a file."""

    sent: ClassVar[int] = len(CONTENT)
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(404 if "none" in self.path else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("ETag", '"0123456789abcdef0123456789abcdef01234567"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(CONTENT[: self.sent])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Server, "asked", [])
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def test_names_urls_files_and_hub_ids_are_told_apart(tmp_path: Path) -> None:
    name = "hiera_base_224.mae_in1k"
    row = WEIGHTS[name]
    assert download.understand(name).hub == (f"facebook/{name}", "model.safetensors")
    assert download.understand(row.hub).name == name
    assert download.understand(row.url) == download.Source(row.url, url=row.url, name=name)
    mirror = download.understand("timm/hiera_base_224.mae")
    assert mirror[3:] == (("timm/hiera_base_224.mae", "model.safetensors"), name)
    clips = download.understand("hiera_base_16x224.mae_k400")
    assert clips.url == "https://dl.fbaipublicfiles.com/hiera/mae_hiera_base_16x224.pth"
    assert download.understand("facebook/sam2-hiera-tiny").hub[1] == "sam2_hiera_tiny.pt"
    own = download.understand("hf-hub:someone/model/sub/best.pth")
    assert (own.hub, own.name) == (("someone/model", "sub/best.pth"), None)
    assert download.understand("someone/model").hub == ("someone/model", "model.safetensors")
    (tmp_path / "weights").touch()
    assert download.understand(tmp_path / "weights").path == tmp_path / "weights"
    (tmp_path / "model.safetensors").touch()
    assert download.understand(tmp_path).path == tmp_path / "model.safetensors"


def test_a_missing_file_in_a_folder_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert download.understand("runs/best").hub == ("runs/best", "model.safetensors")
    (tmp_path / "runs").mkdir()
    with pytest.raises(FileNotFoundError, match="runs/best: no such file"):
        download.understand("runs/best")
    assert download.understand("hf-hub:runs/best").hub == ("runs/best", "model.safetensors")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("work_dirs/iter_3.pth", FileNotFoundError, "work_dirs/iter_3.pth: no such file"),
        (Path("org/name"), FileNotFoundError, "no such file"),
        ("hiera_base_224", CheckpointError, "did you mean hiera_base_224.mae_in1k"),
        ("resnet50", CheckpointError, r"neither a file, a URL, a hub id \(ORG/NAME\) nor a name"),
        ("hf-hub:name", CheckpointError, "on the hub; expected ORG/NAME or ORG/NAME/FILE"),
        ("hf-hub:org/../x", CheckpointError, "on the hub; expected"),
    ],
)
def test_what_is_none_of_these_is_named(source: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        download.understand(source)


def test_a_file_is_downloaded_once(server: str, tmp_path: Path) -> None:
    for _ in range(2):
        path = download.download(f"{server}/weights.pth?download=true", tmp_path / "cache")
        assert path == tmp_path / "cache/weights.pth"
        assert path.read_bytes() == CONTENT
    assert [line.split()[0] for line in Server.asked] == ["HEAD", "GET"]


def test_several_at_a_time_download_it_once(server: str, tmp_path: Path) -> None:
    args = (f"{server}/weights.pth", tmp_path)
    threads = [threading.Thread(target=download.download, args=args) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Server.asked) == 2


def test_a_transfer_that_ends_early_is_no_file(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "sent", 1000)
    with pytest.raises(CheckpointError, match=f"1000 of {len(CONTENT)} bytes arrived"):
        download.download(f"{server}/weights.pth", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"weights.pth.lock"}
    monkeypatch.setattr(Server, "sent", len(CONTENT))
    assert download.download(f"{server}/weights.pth", tmp_path).read_bytes() == CONTENT


def test_a_hash_in_the_name_is_checked(server: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="invalid hash value"):
        download.download(f"{server}/weights-0123abcd.pth", tmp_path)
    assert not (tmp_path / "weights-0123abcd.pth").exists()


def whole(handler: Server) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(CONTENT)


def test_a_date_in_the_name_is_no_hash_and_a_server_need_not_allow_head(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Server) -> None:
        self.send_error(405)

    monkeypatch.setattr(Server, "do_GET", whole)
    monkeypatch.setattr(Server, "do_HEAD", refuse)
    path = download.download(f"{server}/weights-20240811.pth", tmp_path)
    assert path.read_bytes() == CONTENT


def test_files_of_one_name_at_several_places_are_several(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    paths = {download.locate(download.understand(f"{server}/run{n}/best.pth")) for n in (1, 2)}
    assert len(paths) == 2
    row = WEIGHTS["hiera_base_16x224.mae_k400"]
    shared = tmp_path / "checkpoints/mae_hiera_base_16x224.pth"
    shared.touch()  # where the original's own loader puts it
    assert download.locate(download.understand(row.url)) == shared


def test_what_cannot_be_downloaded_can_be_put_in_place(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    source = download.understand(f"{server}/none.pth")
    folder = hashlib.sha256(source.url.encode()).hexdigest()[:8]
    place = tmp_path / "checkpoints" / folder / "none.pth"
    with pytest.raises(CheckpointError, match=f"404.*Download it elsewhere, and put it at {place}"):
        download.locate(source)
    with pytest.raises(CheckpointError, match=r"refused.*put it at"):
        download.locate(download.understand("http://127.0.0.1:9/none.pth"))
    place.write_bytes(CONTENT)
    assert download.locate(source) == place


def located(source: str, hub: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since huggingface_hub reads its settings when it is imported."""
    code = "from hiera_dense.weights.download import locate, understand; "
    code += f"print(locate(understand({source!r})))"
    settings = dict(HF_ENDPOINT=hub, HF_HOME=str(home), HF_HUB_DISABLE_XET="1", **env)
    settings |= dict(
        https_proxy="http://127.0.0.1:9", no_proxy="127.0.0.1"
    )  # nothing else is there
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | settings)


def test_a_published_weight_comes_from_the_hub_into_its_cache(server: str, tmp_path: Path) -> None:
    run = located("sam2.1_hiera_tiny", server, tmp_path)
    assert run.returncode == 0, run.stderr
    path = Path(run.stdout.strip())
    assert path.is_relative_to(tmp_path)
    assert path.read_bytes() == CONTENT
    asked = "/facebook/sam2.1-hiera-tiny/resolve/main/sam2.1_hiera_tiny.pt"
    assert f"GET {asked}" in Server.asked
    before = len(Server.asked)
    offline = located("sam2.1_hiera_tiny", server, tmp_path, HF_HUB_OFFLINE="1")
    assert offline.stdout == run.stdout
    assert len(Server.asked) == before


def test_without_a_hub_the_error_says_what_to_download(tmp_path: Path) -> None:
    run = located("hiera_tiny_224.mae_in1k", "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    error = run.stderr.splitlines()[-1]
    assert "cannot download model.safetensors of facebook/hiera_tiny_224.mae_in1k" in error
    assert "cannot download https://dl.fbaipublicfiles.com/hiera/mae_hiera_tiny_224.pth" in error
    assert error.endswith("give the path of the file in place of its name")
