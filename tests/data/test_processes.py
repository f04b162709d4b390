"""Many images, and images that end or hold up whoever reads them."""

import os
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiera_dense.data import processes
from hiera_dense.data.decode import HOSTS, Reader, see
from hiera_dense.data.findings import Seen
from hiera_dense.data.processes import ENDED, look


def drawn(folder: Path, number: int) -> list[Path]:
    paths = [folder / f"{i}.png" for i in range(number)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((4, 5), i, np.uint8)).save(path)
    return paths


@pytest.mark.slow
def test_many_images_are_decoded_in_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = drawn(tmp_path, 90)
    paths[50].write_bytes(paths[50].read_bytes()[:-20])
    paths += paths[:3]
    seen = look(paths, "some", HOSTS, budget=1e3)
    assert len(seen) == 90
    assert [path for path, found in seen.items() if found.problem] == [paths[50]]
    assert "decoding 90 images takes about 0 s\n" in capsys.readouterr().out
    seen = look(paths, "some", HOSTS, budget=1e-9)
    assert len(seen) == 90
    assert "one of " in capsys.readouterr().out
    seen = look(paths, "none", HOSTS, 0)
    assert {found.size for path, found in seen.items() if path != paths[50]} == {(5, 4)}


def see_or_end(path: Path, reader: Reader | None) -> Seen:
    if path.stem == "7":
        os._exit(1)
    if path.stem == "9":
        time.sleep(600)
    return see(path, reader)


@pytest.mark.parametrize("number", [12, 70])
def test_images_that_end_their_reader_or_hang_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Few, in one process; and many."""
    fork = get_context("fork")  # so that the processes see what is replaced here
    monkeypatch.setattr(processes, "_context", lambda: fork)
    monkeypatch.setattr(processes, "see", see_or_end)
    monkeypatch.setattr(processes, "LIMIT", 0.5)
    seen = look(drawn(tmp_path, number), "all", HOSTS, 0)
    assert len(seen) == number
    wrong = {path.name: found.problem for path, found in seen.items() if found.problem}
    assert wrong == {"7.png": ENDED, "9.png": ENDED}


def test_a_machine_that_gives_no_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise OSError("no semaphores here")

    monkeypatch.setattr(processes, "_context", none)
    seen = look(drawn(tmp_path, 3), "all", HOSTS, 0)
    assert [found.size for found in seen.values()] == [(5, 4)] * 3
