"""Checkpoints are whole or not there, and the old one goes after the new one is whole."""

from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner as MMEngineRunner

from hiera_dense.mm.checkpoint_hook import CheckpointHook, WholeFiles
from hiera_dense.mm.resume import last_whole_checkpoint
from hiera_dense.writing import part_of


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
        self.runtime_info: dict = {}  # of the hub

    def info(self, message: str) -> None:
        pass


class Model(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs: torch.Tensor, mode: str) -> dict[str, torch.Tensor]:
        return {"loss": self.layer(inputs).mean()}


def test_a_run_that_dies_while_it_writes_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = MMEngineRunner(
        Model(),
        str(tmp_path),
        train_dataloader=dict(
            dataset=[torch.ones(1)] * 8, sampler=dict(type="InfiniteSampler"), batch_size=1
        ),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=3),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(
                type="hiera_dense.CheckpointHook", by_epoch=False, interval=1, max_keep_ckpts=1
            )
        ),
        experiment_name=tmp_path.name,
    )
    written = []

    def die_in_the_second(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", die_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert [path.name for path in tmp_path.glob("*.pth*")] == ["iter_1.pth"]
    assert last_whole_checkpoint(tmp_path) == tmp_path / "iter_1.pth"
    assert torch.load(tmp_path / "iter_1.pth", weights_only=False)["meta"]["iter"] == 1


def test_the_hook_clears_what_a_killed_run_left(tmp_path: Path) -> None:
    part_of(tmp_path / "iter_3.pth").mkdir()
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
    for number in (10, 2, 9):
        torch.save({"number": number}, tmp_path / f"iter_{number}.pth")
    torch.save({}, tmp_path / "best_mIoU_iter_11.pth")  # holds no optimizer
    assert last_whole_checkpoint(tmp_path) == tmp_path / "iter_10.pth"
    pointer = tmp_path / "last_checkpoint"
    pointer.write_text("/before/it/was/moved/iter_9.pth")  # 10 is of an older run
    assert last_whole_checkpoint(tmp_path) == tmp_path / "iter_9.pth"
    torch.save({}, tmp_path / "iter_11.pth")  # of a run that was killed before it named it
    assert last_whole_checkpoint(tmp_path) == tmp_path / "iter_11.pth"
    (tmp_path / "iter_11.pth").unlink()
    damaged = tmp_path / "iter_9.pth"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    assert last_whole_checkpoint(tmp_path, tell=True) == tmp_path / "iter_10.pth"
    assert f"passed over {damaged}: cut short or damaged" in capsys.readouterr().out
    for text in ("", "iter_1.pth"):  # half written; removed
        pointer.write_text(text)
        assert last_whole_checkpoint(tmp_path) == tmp_path / "iter_10.pth"
