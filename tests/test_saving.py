"""Checkpoints are whole or not there, and the old one goes after the new one is whole."""

import zipfile
from pathlib import Path

import pytest
import torch
from mmengine.registry import HOOKS
from preflight import last_whole_checkpoint

from hiera_dense.saving import CheckpointHook, WholeFiles


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, file = WholeFiles(), tmp_path / "iter_1.pth"
    backend.put(b"old", file)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            backend.put(b"new", file)
    assert file.read_bytes() == b"old"
    backend.put(b"new", file)
    assert file.read_bytes() == b"new"
    assert names(tmp_path) == ["iter_1.pth"]


def test_what_is_removed_stays_until_the_next_file_is_whole(tmp_path: Path) -> None:
    for name in "ab":
        WholeFiles().put(b"", tmp_path / name)
    WholeFiles().remove(tmp_path / "a")
    WholeFiles().remove(tmp_path / "b")
    assert names(tmp_path) == ["a", "b"]
    WholeFiles().put(b"again", tmp_path / "b")
    assert names(tmp_path) == ["b"]
    assert (tmp_path / "b").read_bytes() == b"again"


class Runner:
    """What a checkpoint hook asks of a runner before a training."""

    rank = 0

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = str(work_dir)
        self.logger = self.message_hub = self
        self.runtime_info: dict = {}

    def info(self, message: str) -> None:
        pass


def test_the_hook_clears_what_a_killed_run_left(tmp_path: Path) -> None:
    (tmp_path / "iter_3.pth.part").write_bytes(b"half")
    (tmp_path / "iter_2.pth").write_bytes(b"whole")
    hook = HOOKS.build(dict(type="hiera_dense.CheckpointHook", by_epoch=False, max_keep_ckpts=1))
    assert isinstance(hook, CheckpointHook)
    hook.before_train(Runner(tmp_path))
    assert names(tmp_path) == ["iter_2.pth"]
    assert isinstance(hook.file_backend, WholeFiles)


def test_the_last_whole_checkpoint_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert last_whole_checkpoint(tmp_path) is None
    assert "starting from the beginning" in capsys.readouterr().out
    for number in (9, 1, 2):  # the newest counts, not the largest number
        torch.save({"number": number}, tmp_path / f"iter_{number}.pth")
    assert last_whole_checkpoint(tmp_path) == tmp_path / "iter_2.pth"
    newest = tmp_path / "iter_3.pth"
    newest.write_bytes((tmp_path / "iter_2.pth").read_bytes()[:-200])
    assert not zipfile.is_zipfile(newest)
    assert last_whole_checkpoint(tmp_path) == tmp_path / "iter_2.pth"
    assert f"passed over {newest}, which is not whole" in capsys.readouterr().out
    (tmp_path / "epoch_1.pth").write_bytes(b"")
    torch.save({}, tmp_path / "best_mIoU_iter_1.pth")  # holds no optimizer
    assert last_whole_checkpoint(tmp_path) == tmp_path / "iter_2.pth"
