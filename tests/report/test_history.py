"""Scalars of a run that was killed and resumed, as mmengine logs them."""

import json
from pathlib import Path

from hiera_dense.report.history import read_history


def log(run: Path, start: str, entries: list[dict], tail: str = "") -> None:
    path = run / start / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + tail)


def step(number: int, loss: float, **others: float) -> dict:
    rate = 1 / number
    told = dict(lr=rate, base_lr=rate, loss=loss, loss_cls=loss / 2, time=1.0, data_time=0.1)
    return told | dict(iter=number, step=number) | others


def test_a_resumed_run_goes_on_where_it_was_resumed(tmp_path: Path) -> None:
    metrics = {"coco/bbox_mAP": 0.1, "time": 0.2, "step": 20}
    first = [step(10, 5), step(20, 4), metrics, step(30, 3)]
    log(tmp_path, "20260101_000000", first, tail='{"loss": 2, "it')
    log(tmp_path, "20260102_000000", [step(21, 3.5, grad_norm=7), {**metrics, "step": 40}])
    history = read_history(tmp_path)
    assert history.losses["loss"] == [(10, 5), (20, 4), (21, 3.5)]
    assert set(history.losses) == {"loss", "loss_cls"}
    assert history.rates == {"lr": [(10, 0.1), (20, 0.05), (21, 1 / 21)]}
    assert history.metrics == {"coco/bbox_mAP": [(20, 0.1), (40, 0.1)]}
    assert history.others == {"grad_norm": [(21, 7)]}
    assert history.last == 40


def test_metrics_of_epochs_stand_at_their_last_iteration(tmp_path: Path) -> None:
    entries = [step(i, 1, epoch=(i + 49) // 50) for i in range(10, 101, 10)]
    entries += [dict(mIoU=3.0, step=1), dict(mIoU=5.0, step=2)]
    log(tmp_path, "20260101_000000", entries)
    assert read_history(tmp_path).metrics == {"mIoU": [(50, 3), (100, 5)]}


def test_values_that_are_no_numbers_are_no_points(tmp_path: Path) -> None:
    log(tmp_path, "20260101_000000", [step(1, 2), step(2, float("nan")), step(3, 1)], "[1]\nx\n")
    assert read_history(tmp_path).losses["loss"] == [(1, 2), (3, 1)]


def test_no_log(tmp_path: Path) -> None:
    history = read_history(tmp_path)
    assert history.last == 0
    assert not any(history)
