"""What a run goes on from, and what is read of a run: data, never code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from hiera_dense.errors import CheckpointError, SetupError
from hiera_dense.mm.checkpoint_hook import CheckpointHook
from hiera_dense.mm.record import OwnData, own_data_of
from hiera_dense.mm.resume import last_whole_checkpoint, record_of, resume_from
from hiera_dense.mm.safe_loading import refuse_code
from hiera_dense.mm.signals import go_on


@pytest.fixture(autouse=True)
def _guarded() -> None:
    refuse_code()


def run(**meta: Any) -> dict[str, Any]:
    hub = dict(log_scalars={}, runtime_info={}, resumed_keys={})
    whole = dict(iter=3, epoch=0, seed=7) | meta
    return dict(meta=whole, state_dict={}, optimizer={}, message_hub=hub)


def saved(content: Any, folder: Path, name: str = "iter_3.pth") -> str:
    torch.save(content, folder / name)
    return str(folder / name)


def test_a_run_goes_on_with_its_seed(tmp_path: Path) -> None:
    assert record_of(saved(run(), tmp_path))["iter"] == 3
    cfg = Config(dict(work_dir=str(tmp_path), default_hooks=dict(checkpoint=dict())))
    resume_from("auto", cfg)
    assert cfg.resume
    assert cfg.load_from == str(tmp_path / "iter_3.pth")
    assert cfg.randomness.seed == 7


@pytest.mark.parametrize("lacking", ["meta", "state_dict", "optimizer", "message_hub"])
def test_what_is_no_checkpoint_of_a_run_is_named(lacking: str, tmp_path: Path) -> None:
    content = run()
    content[lacking] = "a text"
    with pytest.raises(SetupError, match=f"{lacking} is a str; expected an iter_"):
        record_of(saved(content, tmp_path))
    del content[lacking]
    with pytest.raises(SetupError, match=f"iter_3.pth holds no {lacking}; expected an iter_"):
        record_of(saved(content, tmp_path))


@pytest.mark.parametrize("number", [-1, "3", 2.0, None, True])
@pytest.mark.parametrize("name", ["iter", "epoch"])
def test_a_number_of_iterations_that_is_none_is_named(
    name: str, number: Any, tmp_path: Path
) -> None:
    message = rf"meta\.{name} is {number!r}; expected a number from 0 on"
    with pytest.raises(SetupError, match=message):
        record_of(saved(run(**{name: number}), tmp_path))
    with pytest.raises(SetupError, match=r"meta\.seed is 'x'; expected 0 to 2"):
        record_of(saved(run(seed="x"), tmp_path))


@pytest.mark.parametrize("seed", [-5, 2**32, 1.5])
def test_a_seed_that_is_none_is_named(seed: Any, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"meta\.seed is .*; expected 0 to 2\^32 - 1, or None"):
        record_of(saved(run(seed=seed), tmp_path))


@pytest.mark.parametrize("part", ["log_scalars", "runtime_info", "resumed_keys"])
def test_a_hub_that_is_none_is_named(part: str, tmp_path: Path) -> None:
    content = run()
    content["message_hub"][part] = 3
    with pytest.raises((SetupError, CheckpointError), match=f"message_hub has no {part}|history"):
        record_of(saved(content, tmp_path))


@pytest.mark.parametrize(("name", "limit"), [("iter", "max_iters"), ("epoch", "max_epochs")])
def test_a_run_that_is_over_is_named(name: str, limit: str, tmp_path: Path) -> None:
    """mmengine would step through the data as often as the number says."""
    path = saved(run(**{name: 10**12}), tmp_path)
    cfg = Config(dict(work_dir=str(tmp_path), train_cfg={limit: 200}))
    with pytest.raises(SetupError, match=rf"meta\.{name} is 1000000000000, train_cfg\.{limit} 200"):
        resume_from(path, cfg)


def test_stray_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("iter_best.pth", "epoch_.pth", "iter_9.pth.tmp", "my_iter_9.pth"):
        saved(run(), tmp_path, name)
    (tmp_path / "iter_8.pth").mkdir()
    (tmp_path / "last_checkpoint").write_bytes(b"\xff\xfe\x00")
    assert last_whole_checkpoint(tmp_path) is None
    path = saved(run(), tmp_path)
    assert last_whole_checkpoint(tmp_path) == Path(path)
    (tmp_path / "last_checkpoint").unlink()
    (tmp_path / "last_checkpoint").mkdir()
    assert last_whole_checkpoint(tmp_path) == Path(path)


class Runner:
    """What a checkpoint hook asks of a runner before a training."""

    rank = 0

    def __init__(self, work_dir: Path, **known: Any) -> None:
        self.work_dir = str(work_dir)
        self.logger = self.message_hub = self
        self.runtime_info = known

    def info(self, message: str) -> None:
        pass

    def get_info(self, name: str) -> Any:
        return self.runtime_info[name]


def test_a_checkpoint_removes_no_files_but_of_its_run(tmp_path: Path) -> None:
    """The best checkpoint and those that are kept are named by the file that is gone on from."""
    folder, outside = tmp_path / "run", tmp_path / "keep.pth"
    folder.mkdir()
    outside.touch()
    (folder / "best.pth").touch()
    for said, expected in (
        (str(outside), None),
        ("../keep.pth", None),
        (3, None),
        ("/moved/from/best.pth", str(folder / "best.pth")),
    ):
        hook = CheckpointHook(by_epoch=False, max_keep_ckpts=1, save_best="mIoU")
        known = dict(best_ckpt=said, keep_ckpt_ids=["../../keep", 1], best_score=float("nan"))
        runner = Runner(folder, **known)
        hook.before_train(runner)
        assert hook.best_ckpt_path == expected
        assert not hook.keep_ckpt_ids
        assert "best_score" not in runner.runtime_info
    several = CheckpointHook(by_epoch=False, save_best=["mIoU", "mAcc"])
    several.before_train(Runner(folder, best_ckpt_mIoU=str(outside)))
    assert several.best_ckpt_path_dict == {"mIoU": None, "mAcc": None}
    assert outside.exists()


def test_the_record_of_a_run_is_read_as_data(tmp_path: Path) -> None:
    """As mmengine writes a config, with every value that ours have."""
    own = dict(root="/data", classes=("a", "b"), palette=[(1, 2, 3)], most=float("inf"), low=-1)
    Config(dict(lr=1e-3, own_data=own)).dump(tmp_path / "config.py")
    assert own_data_of(tmp_path / "config.py") == OwnData("/data", ("a", "b"))
    Config(dict(lr=1e-3)).dump(tmp_path / "config.py")
    assert own_data_of(tmp_path / "config.py") is None


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.system('touch {mark}')\nown_data = dict(root=os.getcwd(), classes=())",
        "own_data = __import__('os').system('touch {mark}')",
        "own_data = dict(root=open('{mark}', 'w').name, classes=())",
        "own_data = [x for x in ().__class__.__base__.__subclasses__()]",
        "own_data = dict(**dict(root='a', classes=()))",
        "own_data = dict(root=3, classes=('a',))",
        "own_data = dict(root='a', classes=(1,))",
        "own_data = " + "[" * 10_000 + "]" * 10_000,
        "own_data = " + "-" * 100_000 + "1",
        "own_data = dict(root='a'",
        "own_data = {{**{{}}}}",
        "own_data = {{[]: 1}}",
        "own_data = {{1, [2]}}",
        "own_data = dict(root='a\\0b', classes=())",
        "own_data = dict(root='\\ud800', classes=())",
        "own_data = 1" + "\n" * 1_000_000,
    ],
)
def test_a_record_that_is_a_program_is_not_run(text: str, tmp_path: Path) -> None:
    record, mark = tmp_path / "config.py", tmp_path / "ran"
    record.write_text(text.format(mark=mark))
    with pytest.raises(SetupError, match="lies beside the checkpoint and is not run; expected own"):
        own_data_of(record)
    assert not mark.exists()
    record.write_bytes(b"own_data = \xff")
    with pytest.raises(SetupError, match="is not run"):
        own_data_of(record)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("hiera-dense train c.py", "hiera-dense train c.py --resume"),
        ("hiera-dense train c.py --resume", "hiera-dense train c.py --resume"),
        ("hiera-dense train c.py --resume a.pth --amp", "hiera-dense train c.py --amp --resume"),
        ("hiera-dense train c.py --resume=a.pth", "hiera-dense train c.py --resume"),
        ("tools/train.py c.py --data x", "python tools/train.py c.py --data x --resume"),
    ],
)
def test_how_to_go_on(given: str, expected: str) -> None:
    program = "hiera-dense train" if given.startswith("hiera") else given.split()[0]
    assert go_on([program, *given.removeprefix(program).split()]) == expected
