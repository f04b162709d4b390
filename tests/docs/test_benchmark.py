"""tools/bench/benchmark.py: real runs in processes of their own, and what it makes of results."""

import json
import re
import sys
from pathlib import Path

import pytest

from tools.bench import benchmark
from tools.bench.benchmark import Result

pytestmark = pytest.mark.slow


def test_contestants_run_and_who_cannot_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["ours:tiny:auto", "with:plain:tiny:auto@bfloat16", "fair:tiny", "nobody:tiny"]
    options = ["--size", "96x32", "--runs", "1", "--threads", "1"]
    files = ["--json", str(tmp_path / "r.json"), "--plot", str(tmp_path / "r.png")]
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *names, *options, *files])
    benchmark.main()
    text = capsys.readouterr().out
    assert text.startswith("eval, float32, batch 1, eager, torch ")
    assert text.count("| nobody:tiny | cannot: ValueError: unknown contestant 'nobody:tiny'; ") == 1
    results = [Result(**r) for r in json.loads((tmp_path / "r.json").read_text())["results"]]
    assert [r.name for r in results] == names
    assert {tuple(r.size) for r in results} == {(96, 32)}
    ours, plain, fair, _ = results
    assert len(ours.seconds) == len(plain.seconds) == 1
    assert ours.memory > 0
    assert ours.flops == plain.flops
    assert fair.seconds or fair.problem
    assert (tmp_path / "r.png").stat().st_size > 10_000


def test_a_training_step_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--size", "64", "--runs", "1", "--mode", "train", "--dtype", "amp"]
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "ours:tiny:::cp", *options])
    benchmark.main()
    assert re.search(r"\| ours:tiny:::cp \| \d+\.\d{3} \(", capsys.readouterr().out)


def test_the_table_has_ratios_and_shares() -> None:
    results = [
        Result("a", (64, 64), (2.0, 3.0, 4.0), 10.0, 4e9),
        Result("b", (64, 64), (3.0,), 20.0),
        Result("c", (64, 64), problem="ValueError: too small"),
    ]
    lines = benchmark.table(results, {"torch.matmul": 10e9, "oneDNN": 20e9}, batch=4).splitlines()
    assert lines[2] == "| a | 2.000 (3.000) | 1.00 | 2.00 | 10 | 4.0 | 20%, 10% |"
    assert lines[3] == "| b | 3.000 (3.000) | 1.50 | 1.33 | 20 |  |  |"
    assert lines[4].startswith("| c | cannot: ValueError: too small |")


def test_growth_is_a_power_of_the_pixels() -> None:
    results = [Result("a", (side, side), (side**2.2,), side**2.0) for side in (32, 64, 128)] + [
        Result("b", (32, 32), (1.0,), 1.0)
    ]
    assert benchmark.growth(results).splitlines()[2:] == ["| a | 1.10 | 1.00 |"]
