"""Two real iterations, an evaluation, and the tools around them, in both hosts."""

import http.server
import json
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from mmengine.config import Config
from PIL import Image
from support.common import ROOT, Runs
from support.documents import examples
from support.training import DETECTOR, SEGMENTER, SHORT, Refused, metric_of, run_tool, scalars

from hiera_dense.cli import evaluate, train
from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.weights.load import load_pretrained

pytestmark = pytest.mark.slow

DELTA_OF_EXAMPLE = """
arch = dict(_delete_=True, embed_dim=24, num_heads=1, stages=(1, 2, 3, 2))
model["backbone"]["arch"] = arch
model["decode_head"] = dict(in_channels=[24, 48, 96, 192])
model["auxiliary_head"] = dict(in_channels=96)
"""


def host_tool(host: str, tool: str) -> Path:
    spec = find_spec(host)
    assert spec is not None
    assert spec.origin
    return Path(spec.origin).parent / ".mim" / "tools" / tool


@pytest.fixture(scope="module", params=["mmdet", "mmseg"])
def trained(
    request: pytest.FixtureRequest,
    small: dict[str, Path],
    toy: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, Path, Path, str]:
    """Host, config, data, work dir and output of a run with our train.py."""
    host = request.param
    config, data = small[host], toy / {"mmdet": "instances", "mmseg": "segments"}[host]
    work_dir = tmp_path_factory.mktemp(host)
    options = ("--data", data, "--work-dir", work_dir, "--cfg-options", *SHORT)
    out = run_tool("train.py", config, *options)
    return host, config, data, work_dir, out


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
    host, config, _, work_dir, _ = trained
    kept = tmp_path / ("results.pkl" if host == "mmdet" else "masks")
    options = ("--out", kept, "--show-dir", tmp_path / "pictures", "--work-dir", tmp_path / "work")
    run_tool("test.py", config, work_dir / "iter_2.pth", *options)
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
    _, config, _, work_dir, _ = trained
    options = ["train_cfg.max_iters=3", *SHORT[1:]]
    args = [config, "--work-dir", work_dir, "--resume", "--cfg-options", *options]
    out = run_tool("train.py", *args)
    assert "resumed" in out
    assert "Iter(train) [3/3]" in out
    assert "Iter(train) [2/3]" not in out


def test_the_hosts_own_train_py_needs_nothing_from_us(
    trained: tuple[str, Path, Path, Path, str], tmp_path: Path
) -> None:
    host, config, data, _, _ = trained
    args = [config, "--work-dir", tmp_path, "--cfg-options", *SHORT]
    run_tool(host_tool(host, "train.py"), *args, data=data)
    assert (tmp_path / "iter_2.pth").exists()
    assert metric_of(host) in scalars(tmp_path)[-1]


def test_another_folder_must_have_the_classes_of_the_run(
    trained: tuple[str, Path, Path, Path, str], tmp_path: Path, refused: Refused
) -> None:
    host, config, data, work_dir, _ = trained
    shutil.copytree(data, tmp_path / "data")
    if host == "mmdet":
        for file in (tmp_path / "data").glob("*.json"):
            file.write_text(file.read_text().replace('"star"', '"comet"'))
    else:
        (tmp_path / "data" / "classes.txt").write_text("background\ndisc\nsquare\ntriangle\ncomet")
    checkpoint = work_dir / "iter_2.pth"
    message = refused(evaluate.main, config, checkpoint, "--data", tmp_path / "data")
    assert "has the classes" in message
    assert re.search("comet; the run was trained on .*star from", message)
    record = work_dir / config.name
    message = refused(evaluate.main, record, checkpoint, "--data", tmp_path / "data")
    assert f"is the record of a run on {data}" in message


def test_a_killed_training_goes_on(small: dict[str, Path], toy: Path, tmp_path: Path) -> None:
    config = small["mmseg"]
    often = ("--cfg-options", "default_hooks.checkpoint.interval=1", "randomness.seed=None")
    options = (*often, "train_cfg.max_iters=200", "train_cfg.val_interval=1000")
    command = [sys.executable, ROOT / "tools/train.py", config, "--data", toy / "segments"]
    command += ["--work-dir", tmp_path]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, cwd=ROOT) as run:
        deadline = time.monotonic() + 240
        while not list(tmp_path.glob("iter_2.pth")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.random() * 2)
        run.kill()
    whole = [path for path in tmp_path.glob("*.pth") if torch.load(path, weights_only=False)]
    assert whole
    steps = max(int(path.stem.removeprefix("iter_")) for path in whole) + 1
    limits = (f"train_cfg.max_iters={steps}", f"train_cfg.val_interval={steps}")
    out = run_tool("train.py", config, "--work-dir", tmp_path, "--resume", *often, *limits)
    logs = [path.read_text() for path in sorted(tmp_path.glob("*/*.log"))]
    # The seed was drawn by the first run; with it the order of images goes on.
    assert len({re.search(r"seed: (\d+)", log)[1] for log in logs}) == 1
    assert len(logs) == 2
    assert f"resumed epoch: 0, iter: {steps - 1}" in out
    assert (tmp_path / f"iter_{steps}.pth").exists()
    assert not list(tmp_path.glob("*.part"))


def test_code_in_a_checkpoint_is_refused_through_every_door(
    small: dict[str, Path],
    toy: Path,
    tmp_path: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """mmengine's own loaders would run it, on both stacks."""
    config, run = small["mmseg"], tmp_path / "run"
    run.mkdir()
    path = run / "iter_1.pth"
    torch.save(dict(state_dict={}, optimizer={}, meta=Runs(tmp_path / "ran")), path)
    own = ["--work-dir", run, "--data", toy / "segments"]
    for main, *args in (
        (evaluate.main, config, path, *own),
        (train.main, config, *own, "--resume", path),
        (train.main, config, *own, "--resume"),
        (train.main, config, *own, "--cfg-options", f"load_from={path}", *SHORT),
    ):
        assert "refused, since loading it could run code" in refused(main, *args)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(http.server.SimpleHTTPRequestHandler, directory=run)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    url = f"http://127.0.0.1:{server.server_port}/iter_1.pth"
    assert "refused, since loading" in refused(evaluate.main, config, url, *own)
    server.shutdown()
    assert not (tmp_path / "ran").exists()
    message = refused(evaluate.main, config, "sam2.1_hiera_tiny", *own)
    assert "published weights go into backbone.init_cfg" in message
    assert "no such file" in refused(evaluate.main, config, run / "iter_9.pth", *own)
    assert "no such file" in refused(train.main, config, *own, "--resume", run / "iter_9.pth")


def test_a_trained_checkpoint_is_the_start_of_another_model(
    trained: tuple[str, Path, Path, Path, str],
) -> None:
    """Of a detector or a segmenter, with all that mmengine puts beside the weights."""
    _, config, _, work_dir, _ = trained
    cfg = Config.fromfile(work_dir / config.name)
    backbone = HieraBackbone(cfg.model.backbone.arch)
    report = load_pretrained(backbone, work_dir / "iter_2.pth")
    assert report.content.layout == "hiera_dense detector or segmenter"
    assert "8 of them in the head or decoder" in report.changes
    state = torch.load(work_dir / "iter_2.pth", weights_only=False)["state_dict"]
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, state[f"backbone.{name}"])


def test_five_channels(toy: Path, tmp_path: Path) -> None:
    """The example of docs/own-data.md."""
    config = tmp_path / "config.py"
    example = examples("docs/own-data.md")[-1].replace('"./configs/', f'"{ROOT}/configs/')
    config.write_text(example + DELTA_OF_EXAMPLE)
    data = tmp_path / "data"
    shutil.copytree(toy / "segments", data)
    for path in (data / "images").rglob("*.png"):
        pixels = np.asarray(Image.open(path))
        path.unlink()
        five = np.concatenate([pixels, pixels[..., :2]], axis=-1)
        tifffile.imwrite(path.with_suffix(".tif"), five, planarconfig="contig")
    options = ("--data", data, "--work-dir", tmp_path / "run", "--cfg-options", *SHORT)
    run_tool("train.py", config, *options)
    assert "mIoU" in scalars(tmp_path / "run")[-1]


@pytest.mark.parametrize("config", [DETECTOR, SEGMENTER], ids=["mmdet", "mmseg"])
def test_bad_data_end_a_training_before_it_begins(
    config: Path, toy: Path, tmp_path: Path, refused: Refused
) -> None:
    assert "none is named; expected hiera-dense train CONFIG --data" in refused(train.main, config)
    message = refused(train.main, config, "--data", tmp_path)
    assert "no images with annotations in" in message
    shutil.copytree(toy, tmp_path / "toy")
    data, lost = {
        DETECTOR: (tmp_path / "toy/instances", "train/0003.png"),
        SEGMENTER: (tmp_path / "toy/segments", "annotations/training/0003.png"),
    }[config]
    (data / lost).unlink()
    assert "cannot be trained on; see the errors above" in refused(train.main, config, data=data)


def test_data_for_a_config_that_reads_none(tmp_path: Path, refused: Refused) -> None:
    config = ROOT / "configs/upernet/upernet_hiera-t_8xb2-amp-160k_ade20k-512x512.py"
    message = refused(train.main, config, "--data", tmp_path)
    assert "does not support --data" in message
