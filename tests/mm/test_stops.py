"""How a training ends early: losses that are no numbers, signals, a full disk, another training."""

import os
import re
import resource
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from support.processes import begin
from support.training import DELTA, DETECTOR, HEADS, SEGMENTER

from hiera_dense.cli import train
from hiera_dense.data.folders import VARIABLE

pytestmark = pytest.mark.slow

LONG = ["train_cfg.max_iters=100", "train_cfg.val_interval=1000"]
OFTEN = ["default_hooks.checkpoint.interval=1", "default_hooks.logger.interval=1"]


@pytest.fixture(scope="module", params=["mmdet", "mmseg"])
def options(
    request: pytest.FixtureRequest, toy: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """Of a training whose iterations take less than a second."""
    host = request.param
    base = {"mmdet": DETECTOR, "mmseg": SEGMENTER}[host]
    config = tmp_path_factory.mktemp("configs") / f"{host}.py"
    config.write_text(DELTA.format(base=base, heads=HEADS[host]))
    data = toy / {"mmdet": "instances", "mmseg": "segments"}[host]
    return [str(config), "--data", str(data)]


class Run:
    """A training in a process of its own."""

    def __init__(
        self,
        options: list[str],
        work_dir: Path,
        *settings: str,
        main: Callable[[], None] = train.main,
        log: Path | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        words = [*options, "--work-dir", str(work_dir), "--cfg-options", *OFTEN, *settings]
        self.work_dir, self.log = work_dir, log or work_dir.with_suffix(".log")
        self.process = begin(main, words, self.log, {VARIABLE: "", **variables})

    def wait_for(self, pattern: str) -> None:
        deadline = time.monotonic() + 240
        while not list(self.work_dir.glob(pattern)):
            assert self.process.is_alive(), self.text
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def send(self, number: int) -> None:
        assert self.process.pid
        os.kill(self.process.pid, number)

    def end(self) -> int | None:
        self.process.join(240)
        self.process.kill()
        self.process.join()
        return self.process.exitcode

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def last_line(self) -> str:
        return self.text.strip().splitlines()[-1]


def assert_finite(path: Path) -> None:
    state = torch.load(path, weights_only=False)["state_dict"]
    assert all(t.isfinite().all() for t in state.values() if t.is_floating_point())


def test_a_loss_that_is_no_number_stops_a_training(options: list[str], tmp_path: Path) -> None:
    run = Run(options, tmp_path / "run", *LONG, "optim_wrapper.optimizer.lr=1e30")
    assert run.end() == 1
    assert re.search(r"iteration \d+: .*(nan|inf).*; expected finite", run.last_line), run.last_line
    assert "Traceback" not in run.text
    saved = list((tmp_path / "run").glob("*.pth"))
    assert f"The last checkpoint is {tmp_path}/run/iter_" in run.last_line or not saved
    for path in saved:
        assert_finite(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_training_with_a_way_on(
    options: list[str], number: int, tmp_path: Path
) -> None:
    run = Run(options, tmp_path / "run", *LONG, "train_dataloader.num_workers=1")
    run.wait_for("iter_2.pth")
    run.send(number)
    assert run.end() == 128 + number
    assert "Traceback" not in run.text
    said = re.fullmatch(
        r"stopped by (\w+) at iteration \d+; saved: (\S+)\. To go on: (.+)", run.last_line
    )
    assert said, run.text[-2000:]
    assert said[1] == signal.Signals(number).name
    assert_finite(Path(said[2]))
    assert not list((tmp_path / "run").glob("*.part"))
    words = said[3].split()
    assert words[0] == "tool"
    assert words[-1] == "--resume"
    assert words[1:-1][: len(options)] == options
    more = int(re.findall(r"iter_(\d+)", said[2])[0]) + 1
    again = Run([*words[1:-1], f"train_cfg.max_iters={more}", "--resume"], tmp_path / "run")
    assert again.end() == 0, again.text[-2000:]
    assert "resumed epoch: 0, iter: " in again.text


def test_a_warning_saves_a_checkpoint(options: list[str], tmp_path: Path) -> None:
    rare = "default_hooks.checkpoint.interval=50"
    run = Run(options, tmp_path / "run", *LONG, rare)
    run.wait_for("*/vis_data/scalars.json")
    run.send(signal.SIGUSR1)
    run.wait_for("last_checkpoint")
    run.send(signal.SIGTERM)
    assert run.end() == 143
    saved = next((tmp_path / "run").glob("iter_*.pth"))
    assert int(saved.stem.removeprefix("iter_")) < 50
    assert f"saved: {saved}. To go on" in run.last_line
    assert (tmp_path / "run/last_checkpoint").read_text() == str(saved)
    assert torch.load(saved, weights_only=False)["optimizer"]["state"]


def test_a_folder_is_trained_in_by_one_at_a_time(options: list[str], tmp_path: Path) -> None:
    first = Run(options, tmp_path / "run", *LONG)
    first.wait_for("iter_1.pth")
    second = Run(options, tmp_path / "run", *LONG, log=tmp_path / "second.log")
    assert second.end() == 1
    assert second.last_line == (
        f"another training is running in {tmp_path / 'run'}; expected another --work-dir, or the "
        "end of that one"
    )
    first.send(signal.SIGKILL)  # which leaves no lock behind
    first.end()
    third = Run(options, tmp_path / "run", "train_cfg.max_iters=1", "train_cfg.val_interval=9")
    assert third.end() == 0, third.text[-2000:]


def _on_a_small_disk() -> None:
    """Train where no file can be larger than half a checkpoint."""
    size = int(os.environ["LARGEST_FILE"])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    train.main()


def test_a_full_disk_leaves_the_last_checkpoint_and_says_how_to_go_on(
    options: list[str], tmp_path: Path
) -> None:
    run = Run(options, tmp_path / "run", "train_cfg.max_iters=1", "train_cfg.val_interval=9")
    assert run.end() == 0, run.text[-2000:]
    size = (tmp_path / "run/iter_1.pth").stat().st_size
    small = {"LARGEST_FILE": str(size // 2)}
    goes_on = [*options, "--resume"]
    full = Run(goes_on, tmp_path / "run", *LONG, main=_on_a_small_disk, variables=small)
    assert full.end() == 1
    assert "Traceback" not in full.text
    assert re.fullmatch(
        rf"{tmp_path}/run/iter_2\.pth: cannot be written: File too large, after \d+\.\d MB, which "
        rf"are removed again; .*; saved: {tmp_path}/run/iter_1\.pth\. To go on: tool .* --resume",
        full.last_line,
    ), full.last_line
    assert {path.name for path in (tmp_path / "run").glob("iter_*")} == {"iter_1.pth"}
    assert not list((tmp_path / "run").glob(".*.part"))
    again = Run(goes_on, tmp_path / "run", "train_cfg.max_iters=2", "train_cfg.val_interval=9")
    assert again.end() == 0, again.text[-2000:]
    assert (tmp_path / "run/iter_2.pth").exists()
