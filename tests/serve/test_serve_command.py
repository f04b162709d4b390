"""`hiera-dense serve`: what it says where it cannot start."""

import importlib.util
import socket
import sys
from pathlib import Path

import pytest

from hiera_dense.cli import serve as command


def fails(monkeypatch: pytest.MonkeyPatch, *args: str) -> str:
    monkeypatch.setattr(sys, "argv", ["hiera-dense serve", *args])
    with pytest.raises(SystemExit) as ended:
        command.main()
    return str(ended.value)


@pytest.fixture
def _app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio counts as installed; nothing here gets so far as to import it."""
    monkeypatch.setattr(command, "find_spec", lambda _: True)


def test_missing_gradio_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(command, "find_spec", lambda n: None if n == "gradio" else found(n))
    said = fails(monkeypatch, "run")
    assert said == 'gradio missing; expected after: pip install "hiera-dense[app]"'


@pytest.mark.usefixtures("_app")
def test_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = fails(monkeypatch, "run", "--port", str(port))
    assert said.startswith(f"port {port} of 127.0.0.1: Address already in use; expected a free")
    assert "expected" in fails(monkeypatch, "run", "--host", "203.0.113.1", "--port", "0")


@pytest.mark.usefixtures("_app")
@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--score", "2"], "--score 2.0; expected a number from 0 to 1"),
        (["--port", "70000"], "--port 70000; expected a number from 0 to 65535"),
        (["--max-mb", "0"], "expected numbers above 0"),
        (["--max-requests", "-1"], "expected numbers above 0"),
        (["--max-megapixels", "nan"], "expected numbers above 0"),
        (["--examples", "nowhere"], "--examples nowhere: no such folder"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    monkeypatch: pytest.MonkeyPatch, args: list[str], sentence: str
) -> None:
    assert sentence in fails(monkeypatch, "run", *args)


@pytest.mark.usefixtures("_app")
def test_model_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "nothing.pth" in fails(monkeypatch, str(tmp_path / "nothing.pth"), "--port", "0")
