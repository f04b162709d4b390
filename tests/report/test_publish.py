"""Published models: what is in the folder, how it is read, and the way to the hub and back."""

import ast
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants
from safetensors import safe_open
from support.common import ROOT
from support.hub import TOKEN, running_hub
from support.small_models import save_kind

from hiera_dense import Predictor, __main__
from hiera_dense.errors import CheckpointError, SetupError
from hiera_dense.report.card import licence_id, metrics_of
from hiera_dense.report.publish import publish
from hiera_dense.weights.origin import Origin, origin_of

IMAGE = np.random.default_rng(0).integers(0, 255, (100, 120, 3), np.uint8)
MAE = "hiera_base_224.mae_in1k"


@pytest.fixture(scope="module")
def run(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a segmenter, with two validations and the state of an optimizer."""
    folder = tmp_path_factory.mktemp("run")
    path = save_kind("upernet", toy, folder)
    content = torch.load(path, weights_only=False)
    content["optimizer"] = {"state": {0: torch.zeros(1_000_000)}}
    content["meta"]["cfg"] = content["meta"]["cfg"].replace(
        "init_cfg=None", f"init_cfg=dict(type='Pretrained', checkpoint='{MAE}')"
    )
    torch.save(content, folder / "best_mIoU_iter_20.pth")
    path.unlink()
    log = folder / "20260101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    entries = [dict(loss=1.0, iter=10, step=10), dict(mIoU=12.5, aAcc=50.0, step=10)]
    entries += [dict(mIoU=34.5, aAcc=70.0, step=20), dict(mIoU=23.0, aAcc=60.0, step=30)]
    log.write_text("\n".join(map(json.dumps, entries)))
    return folder


def test_a_published_folder_predicts_as_its_run(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    publish(run, out)
    names = {p.name for p in out.iterdir() if not p.name.startswith(".")}
    assert names == {"README.md", "config.py", "model.safetensors"}
    ours, theirs = Predictor(out), Predictor(run)
    assert ours.classes == theirs.classes
    assert ours.palette == theirs.palette
    assert ours.licence == theirs.licence
    assert (ours(IMAGE).segmentation == theirs(IMAGE).segmentation).all()
    checkpoint = next(run.glob("best_*.pth"))
    assert (out / "model.safetensors").stat().st_size < checkpoint.stat().st_size - 3_900_000


def test_the_config_is_plain_and_names_no_place_of_this_machine(run: Path, tmp_path: Path) -> None:
    publish(run, tmp_path / "model")
    text = (tmp_path / "model/config.py").read_text()
    assert all(isinstance(node, ast.Assign) for node in ast.parse(text).body)
    for place in (str(ROOT), str(run), str(Path.home()), "init_cfg", "data_root"):
        assert place not in text


def test_the_card_has_the_metrics_of_the_checkpoint(run: Path, tmp_path: Path) -> None:
    publish(run, tmp_path / "model", name="me/cells", licence="mit", dataset="My cells")
    card = ModelCard.load(tmp_path / "model/README.md")
    assert card.data.license == "mit"
    assert card.data.library_name == "hiera_dense"
    assert card.data.pipeline_tag == "image-segmentation"
    found = {r.metric_type: r.metric_value for r in card.data.eval_results}
    assert found == {"mIoU": 34.5, "aAcc": 70.0}
    assert card.data.eval_results[0].dataset_name == "My cells"
    assert "Predictor('me/cells')" in card.text
    with safe_open(tmp_path / "model/model.safetensors", "pt") as file:
        assert file.metadata()["licence"] == "mit"


def test_the_snippet_of_the_card_runs(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    publish(run, Path("model"))
    Image.fromarray(IMAGE).save("photo.jpg")
    text = Path("model/README.md").read_text()
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    assert names["result"].segmentation.shape == (100, 120)


def test_what_began_from_non_commercial_weights_stays_so() -> None:
    origin = origin_of(MAE)
    assert licence_id(origin, None) == "cc-by-nc-4.0"
    with pytest.raises(SetupError, match="--licence mit: it began from"):
        licence_id(origin, "mit")
    assert licence_id(Origin(None, "random weights: yours"), "mit") == "mit"
    assert licence_id(origin_of("best.pth"), None) is None


def test_metrics_of_a_run_without_a_log_are_those_of_an_evaluation(tmp_path: Path) -> None:
    assert metrics_of(tmp_path, "iter_1.pth") == {}
    file = tmp_path / "test" / "20260101_000000" / "20260101_000000.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"coco/bbox_mAP": 0.5, "time": 1.0}))
    assert metrics_of(tmp_path, "iter_1.pth") == {"coco/bbox_mAP": 0.5}


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("import os\nmodel = os.system('true')\n", "cannot be used"),
        ("model = dict(type='os.system', command='true')\n", "cannot be used"),
    ],
)
def test_a_config_of_a_stranger_is_not_run(
    addition: str, message: str, run: Path, tmp_path: Path
) -> None:
    publish(run, tmp_path / "model")
    config = tmp_path / "model/config.py"
    config.write_text(config.read_text() + addition)
    with pytest.raises((CheckpointError, SetupError), match=message):
        Predictor(tmp_path / "model")


def test_another_folder_is_not_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("my own work")
    with pytest.raises(SetupError, match="a folder of other files"):
        publish(run, tmp_path)
    with pytest.raises(SetupError, match="--push cells; expected USER/NAME"):
        publish(run, tmp_path / "model", name="cells")


def test_to_the_hub_and_back(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a hub on this machine."""

    def push(folder: str) -> None:
        options = ["--out", str(tmp_path / folder), "--push", "me/cells", "--private"]
        monkeypatch.setattr(sys, "argv", ["hiera-dense", "publish", str(run), *options])
        __main__.main()

    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        push("model")
        assert capsys.readouterr().out.splitlines()[-1] == f"{hub.address}/me/cells"
        assert hub.private == {"me/cells": True}
        stored = hub.files["me/cells"]
        assert set(stored) == {"README.md", "config.py", "model.safetensors"}
        for name, content in stored.items():
            assert content == (tmp_path / "model" / name).read_bytes()
            assert TOKEN.encode() not in content
        monkeypatch.chdir(tmp_path)  # where no folder `me` is
        predictor = Predictor("me/cells")
        assert repr(predictor) == "Predictor(me/cells: segmentation of 5 classes)"
        assert (predictor(IMAGE).segmentation == Predictor(run)(IMAGE).segmentation).all()
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        with pytest.raises(SystemExit, match="me/cells cannot be pushed") as e:
            push("other")
        said = capsys.readouterr()
        for text in (said.out, said.err, str(e.value)):
            assert "hf_wrong" not in text
            assert TOKEN not in text
