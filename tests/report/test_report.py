"""The page about a training: its numbers are those of `evaluate`, and it opens from the disk."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.html import Page, check_page
from support.saved import small_config
from support.training import run_in_process, run_tool

from hiera_dense.cli import report
from hiera_dense.errors import DataError, InputError, SetupError
from hiera_dense.mm.metrics import host_metric
from hiera_dense.mm.trained import read_trained
from hiera_dense.report.after_training import report_after_training
from hiera_dense.report.evaluation import (
    Labels,
    Objects,
    evaluate_run,
    intersection_over_union,
)
from hiera_dense.report.record import read_settings, validation_of
from hiera_dense.report.run_report import write_report


def evaluated(run: Path) -> Objects | Labels:
    settings = validation_of(run, read_settings(run), None)
    return evaluate_run(read_trained(run), settings, "cpu")


@pytest.mark.parametrize("host", ["mmdet", "mmseg"])
def test_totals_are_those_of_evaluate(host: str, runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs[host]
    config, checkpoint = run / f"{host}.py", next(run.glob("*.pth"))
    run_tool("test.py", config, checkpoint, "--work-dir", tmp_path)
    told = json.loads(next(tmp_path.glob("*/*.json")).read_text())
    expected = {k: v for k, v in told.items() if k not in ("time", "data_time")}
    found = evaluated(run)
    assert found.totals == expected
    if isinstance(found, Objects):
        ours = found.evaluated
        values = [ours.ap(), ours.ap(0), ours.ap(5), *(ours.ap(size=size) for size in (1, 2, 3))]
        names = ["mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"]
        theirs = [expected[f"coco/segm_{name}"] for name in names]
        assert [-1 if v is None else round(v, 3) for v in values] == theirs
        assert 0.05 < theirs[0] < 0.95
    else:
        iou = 100 * intersection_over_union(found.pixels)
        assert round(float(np.nanmean(iou)), 2) == pytest.approx(expected["mIoU"], abs=1e-5)
        right = found.pixels.diagonal().sum() / found.pixels.sum()
        assert round(100 * float(right), 2) == pytest.approx(expected["aAcc"], abs=1e-5)
        assert 1 < expected["mIoU"] < 99


@pytest.mark.parametrize("host", ["mmdet", "mmseg"])
def test_the_page_opens_from_the_disk(
    host: str,
    copied: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = copied(host)
    run_in_process(monkeypatch, report.main, run, "--device", "cpu")
    out = capsys.readouterr().out.splitlines()
    assert out == [f"report: {run / 'report' / 'index.html'}"]
    page = check_page(run / "report" / "index.html")
    pictures = [link for link in page.links if link.endswith(".jpg")]
    assert {link.split("-")[0] for link in pictures} == {"best", "worst"}
    plots = {link for link in page.links if link.endswith(".svg")}
    assert {"loss.svg", "losses.svg", "rate.svg", "metric-1.svg"} <= plots
    assert ("precision-0.svg" in plots) == (host == "mmdet")
    assert "Curves alone" not in page.text
    before = (run / "report" / "index.html").stat().st_ino
    write_report(run, device="cpu")  # over the older one
    assert (run / "report" / "index.html").stat().st_ino != before


def test_names_are_text(tmp_path: Path, toy: Path, runs: dict[str, Path]) -> None:
    """Of classes and files, in the page and in plots."""
    name = "<script>alert(1)</script>_$x$&amp;"
    data = tmp_path / "data"
    shutil.copytree(toy / "segments", data)
    names = ["background", name, "__", "<b>", "star"]
    (data / "classes.txt").write_text("\n".join(names) + "\n")
    for split in ("images", "annotations"):
        for path in (data / split / "validation").glob("0001.*"):
            path.rename(path.with_name(f"<img src=x onerror=alert(1)>{path.suffix}"))
    run = tmp_path / "<i>run"
    run.mkdir()
    cfg = small_config("mmseg", tmp_path, data)
    cfg.dump(run / "mmseg.py")
    (run / "best_metric_iter_5.pth").symlink_to(next(runs["mmseg"].glob("*.pth")))
    page = check_page(write_report(run, device="cpu"))
    assert not set(page.tags) & {"i", "script"}
    assert "<i>run" in page.text
    assert "<img src=x onerror=alert(1)>.png" in page.text


def test_a_run_without_a_checkpoint_has_curves(
    copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied("mmdet")
    next(run.glob("*.pth")).unlink()
    page = check_page(write_report(run))
    assert f"Curves alone: there is no checkpoint in {run}." in page.text
    assert "loss.svg" in page.links
    assert f"note: Curves alone: there is no checkpoint in {run}." in capsys.readouterr().out


def test_a_classifier_has_curves(copied: Callable[[str], Path]) -> None:
    run = copied("mmdet")
    config = run / "mmdet.py"
    text = config.read_text().replace("default_scope = 'mmdet'", "default_scope = 'mmengine'")
    config.unlink()
    config.write_text(text)
    assert "a classifier or a masked autoencoder" in check_page(write_report(run)).text


def test_data_that_were_moved(copied: Callable[[str], Path], tmp_path: Path) -> None:
    run = copied("mmseg")
    config = run / "mmseg.py"
    data = read_settings(run)["own_data"]["root"]
    moved, gone = tmp_path / "moved", tmp_path / "gone"
    shutil.copytree(data, moved)
    text = config.read_text().replace(data, str(gone))
    config.unlink()
    config.write_text(text)
    with pytest.raises(DataError, match=f"{gone}: the data of the run are not there any more; exp"):
        write_report(run, device="cpu")
    assert not (run / "report").exists()
    assert f"data {moved}" in Page(write_report(run, data=str(moved), device="cpu")).text


def test_nothing_is_found(copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run = copied("mmdet")
    metric = host_metric()
    process = metric.process

    def nothing(self: object, data_batch: dict, data_samples: list[dict]) -> None:
        for sample in data_samples:
            kept = sample["pred_instances"]["scores"] > 1
            for key, value in sample["pred_instances"].items():
                sample["pred_instances"][key] = value[kept]
        process(self, data_batch, data_samples)

    monkeypatch.setattr(metric, "process", nothing)
    page = check_page(write_report(run, device="cpu"))
    assert "The model finds nothing in any of the 3 validation images." in page.text


Spoil = Callable[[Path], object]


def replaced(old: str, new: str) -> Spoil:
    def spoil(run: Path) -> None:
        config = run / "mmdet.py"
        text = config.read_text()
        assert re.search(old, text)
        config.unlink()
        config.write_text(re.sub(old, new, text))

    return spoil


def other_folder(run: Path) -> None:
    (run / "report").mkdir()
    (run / "report" / "thesis.txt").write_text("mine")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "no such folder; expected that of a run of `hiera-dense train`"),
        (lambda run: (run / "mmdet.py").unlink(), "no config in it; expected the folder of a run"),
        (other_folder, "report is a folder of other files; expected a new folder, or one that"),
        (replaced("'disc'", "'dish'"), "has the classes .*; .* was trained on dish, square"),
        (replaced("'DefaultSampler'", "'evil.Code'"), "type 'evil.Code' in its config; expected"),
        (replaced("test_dataloader = ", "no_loader = "), "no detector or segmenter with valid"),
        (replaced(r"\Z", "own_data = dict(x=print(1))"), "expected plain values, as a run"),
        (
            lambda run: (run / "best_other_iter_5.pth").write_bytes(b""),
            "best_metric_iter_5.pth, best_other_iter_5.pth; expected one of them by its path",
        ),
    ],
)
def test_what_cannot_be_reported(spoil: Spoil, message: str, copied: Callable[[str], Path]) -> None:
    run = copied("mmdet")
    spoil(run)
    with pytest.raises(InputError, match=message):
        write_report(run, device="cpu")
    assert not (run / "report" / "index.html").exists()


def test_an_image_that_cannot_be_read_is_named(
    runs: dict[str, Path], copied: Callable[[str], Path], tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(read_settings(runs["mmdet"])["own_data"]["root"], moved)
    (moved / "val" / "0002.png").write_bytes(b"no image")
    run = copied("mmdet")
    with pytest.raises(DataError, match=r"0002\.png: image or labels cannot be read"):
        write_report(run, data=str(moved), device="cpu")
    assert not (run / "report").exists()


def test_data_for_a_run_on_none_are_refused(copied: Callable[[str], Path], toy: Path) -> None:
    run = copied("mmdet")
    replaced("own_data = ", "other = ")(run)
    with pytest.raises(SetupError, match="was not trained on a folder"):
        write_report(run, data=str(toy / "instances"))


def test_a_training_ends_with_its_report(copied: Callable[[str], Path]) -> None:
    """In a process of its own, here of a run that needs no evaluation."""
    run = copied("mmdet")
    next(run.glob("*.pth")).unlink()
    assert report_after_training(run) == f"report: {run / 'report' / 'index.html'}"
    check_page(run / "report" / "index.html")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (
            "#!/bin/sh\necho Loading; echo warning >&2; echo RUN: one line >&2; exit 1",
            "RUN: one line",
        ),
        ("#!/bin/sh\nkill -9 $$", "it ended with status -9"),
        (None, "[Errno 2] No such file or directory"),
    ],
)
def test_a_finished_training_is_not_spoiled(
    script: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    if script:
        program.write_text(script)
        program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    told = report_after_training(tmp_path)
    assert told.startswith(f"no report: {why}")
    assert "\n" not in told
