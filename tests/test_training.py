"""Two real iterations, an evaluation, and the tools around them, in both hosts."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from conftest import ROOT

DETECTOR = ROOT / "configs/demo/mask-rcnn_hiera-t_fpn_1xb3-200i_toy.py"
SEGMENTER = ROOT / "configs/demo/upernet_hiera-t_1xb4-200i_toy-128x128.py"
SHORT = [
    "train_cfg.max_iters=2",
    "train_cfg.val_interval=2",
    "default_hooks.logger.interval=1",
    "default_hooks.checkpoint.interval=1",
    "randomness.seed=0",
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    run_tool("make_toy_data.py", str(folder), "--train", "8", "--val", "3", "--size", "96")
    return folder


def run_tool(tool: str | Path, *args: str, data: Path | None = None) -> str:
    """Run a script of tools/ (or any other, given by its path) and return what it printed."""
    env = os.environ | {"HIERA_DENSE_DATA": str(data)}
    command = [sys.executable, str(ROOT / "tools" / tool), *args]
    run = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout + run.stderr


def scalars(work_dir: Path) -> list[dict]:
    """What was logged, over all runs in a work dir, oldest first."""
    files = sorted(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def host_tool(host: str, tool: str) -> Path:
    spec = find_spec(host)
    assert spec is not None
    assert spec.origin
    return Path(spec.origin).parent / ".mim" / "tools" / tool


@pytest.fixture(scope="module", params=["mmdet", "mmseg"])
def trained(
    request: pytest.FixtureRequest, toy: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path, Path, str]:
    """Host, config, data, work dir and output of a run with our train.py."""
    host = request.param
    config, data = {
        "mmdet": (DETECTOR, toy / "instances"),
        "mmseg": (SEGMENTER, toy / "segments"),
    }[host]
    work_dir = tmp_path_factory.mktemp(host)
    out = run_tool(
        "train.py", str(config), "--work-dir", str(work_dir), "--cfg-options", *SHORT, data=data
    )
    return host, config, data, work_dir, out


def metric_of(host: str) -> str:
    return {"mmdet": "coco/segm_mAP", "mmseg": "mIoU"}[host]


def test_training_logs_progress_and_keeps_the_best(
    trained: tuple[str, Path, Path, Path, str],
) -> None:
    host, _, _, work_dir, out = trained
    assert re.search(r"Iter\(train\) \[1/2\].* eta: ", out)
    logged = scalars(work_dir)
    assert [s["iter"] for s in logged if "loss" in s] == [1, 2]
    assert all(torch.tensor(s["loss"]).isfinite() for s in logged if "loss" in s)
    assert metric_of(host) in logged[-1]
    assert list(work_dir.glob(f"best_{metric_of(host).replace('/', '_')}_iter_2.pth"))


def test_evaluation_gives_what_training_gave(
    trained: tuple[str, Path, Path, Path, str], tmp_path: Path
) -> None:
    host, config, data, work_dir, _ = trained
    kept = tmp_path / ("results.pkl" if host == "mmdet" else "masks")
    run_tool(
        *(
            "test.py",
            str(config),
            str(work_dir / "iter_2.pth"),
            "--work-dir",
            str(tmp_path / "work"),
        ),
        *("--out", str(kept), "--show-dir", str(tmp_path / "pictures")),
        data=data,
    )
    result = json.loads(next((tmp_path / "work").glob("*/*.json")).read_text())
    expected = scalars(work_dir)[-1]
    names = [n for n in expected if n.startswith("coco/") or n in ("mIoU", "aAcc")]
    assert names
    assert {n: result[n] for n in names} == pytest.approx({n: expected[n] for n in names})
    assert kept.stat().st_size if host == "mmdet" else len(list(kept.glob("*.png"))) == 3
    assert len(list((tmp_path / "pictures").rglob("*.png"))) == 3


def test_resuming_goes_on_from_the_last_checkpoint(
    trained: tuple[str, Path, Path, Path, str],
) -> None:
    _, config, data, work_dir, _ = trained
    options = ["train_cfg.max_iters=3", *SHORT[1:]]
    args = [str(config), "--work-dir", str(work_dir), "--resume", "--cfg-options", *options]
    out = run_tool("train.py", *args, data=data)
    assert "resumed" in out
    assert "Iter(train) [3/3]" in out
    assert "Iter(train) [2/3]" not in out


def test_the_hosts_own_train_py_needs_nothing_from_us(
    trained: tuple[str, Path, Path, Path, str], tmp_path: Path
) -> None:
    host, config, data, _, _ = trained
    args = [str(config), "--work-dir", str(tmp_path), "--cfg-options", *SHORT]
    run_tool(host_tool(host, "train.py"), *args, data=data)
    assert (tmp_path / "iter_2.pth").exists()
    assert metric_of(host) in scalars(tmp_path)[-1]


def test_a_detectors_predictions_go_to_a_pickle_or_nowhere() -> None:
    command = [sys.executable, "tools/test.py", str(DETECTOR), "none.pth", "--out", "results.json"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 2
    assert "results.json: expected a .pkl file" in run.stderr
