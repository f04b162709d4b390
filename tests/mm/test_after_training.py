"""The hosts' analysis tools on our runs, pictures of the backbone, and other visualizers."""

import runpy
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from support.documents import examples
from support.processes import call
from support.training import SHORT, run_tool

from hiera_dense.data.folders import VARIABLE

pytestmark = pytest.mark.slow

PAGE = "docs/after-training.md"
FOLDERS = {"mmdet": "instances", "mmseg": "segments"}


class Run(NamedTuple):
    """A short training, and what the host's own test.py found."""

    config: Path
    data: Path
    folder: Path
    checkpoint: Path
    results: Path
    log: Path


def tool_of(host: str, name: str) -> Path:
    """A tool in the wheel of a host."""
    return Path(find_spec(host).origin).parent / ".mim/tools" / name


def host_tool(host: str, name: str, *args: str | Path, data: Path) -> str:
    """Run a tool from the wheel of a host, and return what it printed."""
    variables = {VARIABLE: str(data), "MPLBACKEND": "Agg", "CUDA_VISIBLE_DEVICES": ""}
    tool = partial(runpy.run_path, str(tool_of(host, name)), run_name="__main__")
    return call(tool, list(map(str, args)), variables)


@pytest.fixture(scope="module")
def run_of(
    small: dict[str, Path], toy: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Run]:
    runs = {}
    for host, kind in FOLDERS.items():
        folder, data, config = tmp_path_factory.mktemp(host), toy / kind, small[host]
        options = ("--data", data, "--work-dir", folder, "--cfg-options", *SHORT)
        run_tool("train.py", config, *options)
        (log,) = folder.glob("*/vis_data/scalars.json")
        results = folder / {"mmdet": "results.pkl", "mmseg": "results"}[host]
        args = (config, folder / "iter_2.pth", "--work-dir", folder / "test", "--out", results)
        host_tool(host, "test.py", *args, data=data)
        runs[host] = Run(config, data, folder, folder / "iter_2.pth", results, log)
    return runs


@pytest.mark.parametrize(("host", "keys"), [("mmdet", ["loss"]), ("mmseg", ["loss", "mIoU"])])
def test_curves(run_of: dict[str, Run], tmp_path: Path, host: str, keys: list[str]) -> None:
    """mmdet's tool draws metrics only of runs that count epochs."""
    run, tool = run_of[host], "analysis_tools/analyze_logs.py"
    command = ["plot_curve"] if host == "mmdet" else []
    if "plt.style.use" in tool_of(host, tool).read_text():  # the fork; the original uses seaborn's
        command += ["--style", "fast"]
    for name in keys:
        out = tmp_path / f"{name}.png"
        args = (*command, run.log, "--keys", name, "--out", out)
        assert "save curve" in host_tool(host, tool, *args, data=run.data)
        assert Image.open(out).size[0] > 100


@pytest.mark.parametrize("host", FOLDERS)
def test_confusion_matrix(run_of: dict[str, Run], tmp_path: Path, host: str) -> None:
    run = run_of[host]
    args = (run.config, run.results, tmp_path)
    host_tool(host, "analysis_tools/confusion_matrix.py", *args, data=run.data)
    assert (tmp_path / "confusion_matrix.png").is_file()


@pytest.mark.parametrize("host", FOLDERS)
def test_browse_dataset(run_of: dict[str, Run], tmp_path: Path, host: str) -> None:
    run = run_of[host]
    args = (run.config, "--output-dir", tmp_path, "--not-show", "--show-interval", "0")
    host_tool(host, "analysis_tools/browse_dataset.py", *args, data=run.data)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 8  # images of training


@pytest.mark.parametrize(
    ("host", "args"), [("mmdet", ["--num-images", "1"]), ("mmseg", ["--shape", "96", "96"])]
)
def test_flops(run_of: dict[str, Run], host: str, args: list[str]) -> None:
    run = run_of[host]
    out = host_tool(host, "analysis_tools/get_flops.py", run.config, *args, data=run.data)
    assert "Flops: " in out
    assert "Params: " in out


def test_results_of_a_detector_are_measured_and_drawn(
    run_of: dict[str, Run], tmp_path: Path
) -> None:
    run = run_of["mmdet"]
    args = (run.config, run.results)
    out = host_tool("mmdet", "analysis_tools/eval_metric.py", *args, data=run.data)
    assert "coco/segm_mAP" in out
    args = (*args, tmp_path, "--topk", "1", "--show-score-thr", "0")
    host_tool("mmdet", "analysis_tools/analyze_results.py", *args, data=run.data)
    assert {path.parent.name for path in tmp_path.rglob("*.png")} == {"good", "bad"}


def test_errors_of_a_detector_by_kind(run_of: dict[str, Run], tmp_path: Path) -> None:
    """coco_error_analysis.py reads COCO's result file, which the evaluation writes."""
    run, prefix = run_of["mmdet"], tmp_path / "results"
    options = ("--cfg-options", f"test_evaluator.outfile_prefix={prefix}")
    host_tool("mmdet", "test.py", run.config, run.checkpoint, *options, data=run.data)
    truth = run.data / "instances_val.json"
    args = (f"{prefix}.bbox.json", tmp_path / "errors", "--ann", truth)
    host_tool("mmdet", "analysis_tools/coco_error_analysis.py", *args, data=run.data)
    assert list((tmp_path / "errors").rglob("*allclass-allarea.png"))


def test_benchmark(run_of: dict[str, Run], tmp_path: Path) -> None:
    run = run_of["mmdet"]
    args = ("--checkpoint", run.checkpoint, "--task", "dataset", "--work-dir", tmp_path)
    args = (run.config, *args, "--max-iter", "3", "--num-warmup", "1", "--dataset-type", "val")
    host_tool("mmdet", "analysis_tools/benchmark.py", *args, data=run.data)
    run = run_of["mmseg"]
    args = (run.config, run.checkpoint, "--work-dir", tmp_path, "--repeat-times", "1")
    out = host_tool("mmseg", "analysis_tools/benchmark.py", *args, data=run.data)
    assert "Average fps" in out


def test_class_activation_of_a_segmenter(run_of: dict[str, Run], tmp_path: Path) -> None:
    """mmseg's tool passes `use_cuda`, which grad-cam 1.5 dropped."""
    pytest.importorskip("pytorch_grad_cam", reason="needs grad-cam < 1.5; see docs")
    run = run_of["mmseg"]
    image = next((run.data / "images/validation").iterdir())
    args = (image, run.config, run.checkpoint, "--target-layers")
    args = (
        *args,
        "decode_head.lateral_convs[2]",
        "--category-index",
        "0",
        "--device",
        "cpu",
        "--cam-file",
        tmp_path / "cam.png",
    )
    args = (*args, "--out-file", tmp_path / "seen.png")
    host_tool("mmseg", "analysis_tools/visualization_cam.py", *args, data=run.data)
    assert Image.open(tmp_path / "cam.png").size == Image.open(image).size


def test_maps_of_the_backbone_are_drawn_as_the_page_says(
    run_of: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of["mmseg"]
    (tmp_path / "run").symlink_to(run.folder)
    image = next((run.data / "images/validation").iterdir())
    Image.open(image).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    (code,) = [text for text in examples(PAGE) if "draw_featmap" in text]
    exec(code, {})
    drawn = sorted(path.name for path in tmp_path.glob("maps_*.png"))
    assert drawn == ["maps_16.png", "maps_32.png", "maps_4.png", "maps_8.png"]
    assert len({(tmp_path / name).read_bytes() for name in drawn}) == 4
    pytest.importorskip(
        "pytorch_grad_cam", reason="grad-cam is not among the packages of the tests"
    )
    (more,) = [text for text in examples(PAGE) if "pytorch_grad_cam" in text]
    exec(code + more, {})
    assert Image.open("cam.png").size == Image.open(image).size


BACKENDS = {
    "tensorboard": ("TensorboardVisBackend", "events.out.tfevents.*"),
    "mlflow": ("MLflowVisBackend", "mlflow.db"),
    "wandb": ("WandbVisBackend", "wandb/offline-run-*/*.wandb"),
}


@pytest.mark.parametrize("package", BACKENDS)
def test_a_training_reports_to(
    package: str, small: dict[str, Path], toy: Path, tmp_path: Path
) -> None:
    pytest.importorskip(package, reason="not among the packages of the tests: large, or a service")
    backend, files = BACKENDS[package]
    (lines,) = [text for text in examples(PAGE) if backend in text]
    config, work = tmp_path / "config.py", tmp_path / "work"
    lines = lines.replace("RECIPE.py", str(small["mmseg"])).replace(
        "mlflow.db", f"{tmp_path}/mlflow.db"
    )
    config.write_text(lines)
    options = ("--data", toy / "segments", "--work-dir", work, "--cfg-options", *SHORT[:1])
    run_tool("train.py", config, *options, "train_cfg.val_interval=5")
    (found, *_) = tmp_path.rglob(files)
    assert b"loss" in found.read_bytes()
