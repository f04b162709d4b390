"""Classifiers as files: what PyTorch predicts, without torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from support.common import small_network
from support.saved import random_model
from support.training import CLASSIFIER, run_in_process

from hiera_dense import Predictor
from hiera_dense.cli import export as command
from hiera_dense.cli import serve
from hiera_dense.data.folders import VARIABLE
from hiera_dense.data.images import find_images
from hiera_dense.deploy import check
from hiera_dense.errors import CheckpointError, SetupError
from hiera_dense.mm.datasets import ClassFolders
from hiera_dense.mm.trained import read_trained
from hiera_dense.predict.exported import KEY
from hiera_dense.predict.hosts import HostModel
from hiera_dense.predict.onnx_model import OnnxModel

ARCH = f"""
_base_ = '{CLASSIFIER}'
model = dict(arch=dict(_delete_=True, **{small_network(16, (1, 1, 2, 1))!r}))
"""
CLASSES = ("even", "odd")
RUN = """
import sys
from hiera_dense import Predictor
result = Predictor({model!r})({image!r})
heavy = ("torch", "timm", "mmengine", "mmcv", "mmdet", "mmseg")
print(list(result.best), [name for name in heavy if name in sys.modules])
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> Config:
    path = tmp_path_factory.mktemp("configs") / "classifier.py"
    path.write_text(ARCH)
    os.environ[VARIABLE] = str(toy / "classes")
    try:
        return Config.fromfile(path)
    finally:
        del os.environ[VARIABLE]


def save(config: Config, path: Path) -> Path:
    text = config.pretty_text
    state = random_model(config, 0.1).state_dict()
    meta = dict(cfg=text, dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=state, meta=meta), path)
    return path


@pytest.fixture(scope="module")
def checkpoint(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(config, tmp_path_factory.mktemp("runs") / "classifier.pth")


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("exported") / "classifier.onnx"
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch, command.main, checkpoint, path)
    return path


def test_a_checkpoint_is_predicted_as_its_validation_is(
    config: Config, checkpoint: Path, toy: Path
) -> None:
    """Through the data set and model of the config."""
    predictor = Predictor(checkpoint)
    assert (predictor.task, predictor.classes) == ("classification", CLASSES)
    assert predictor.licence == "random weights: yours"
    settings = dict(config.val_dataloader.dataset)
    del settings["type"]
    dataset = ClassFolders(**settings)
    model = random_model(config, 0.1).eval()
    for place, path in enumerate(dataset.files):
        sample = model.data_preprocessor(dict(inputs=[dataset[place]["inputs"]]), False)
        with torch.no_grad():
            expected = model(**sample, mode="tensor")[0].softmax(-1)
        found = predictor(Path(os.fsdecode(path))).class_scores
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
def test_a_file_predicts_what_pytorch_predicts(checkpoint: Path, exported: Path, toy: Path) -> None:
    theirs, ours = Predictor(checkpoint), Predictor(exported)
    assert (ours.task, ours.classes, ours.palette) == (theirs.task, theirs.classes, theirs.palette)
    files = find_images(toy / "classes")
    assert len(files) > 8
    found = []
    for number, path in enumerate(files):
        pixels = ours.pixels(path)[: 96 - 3 * number, : 96 - 7 * (number % 3)]
        results = theirs(pixels), ours(pixels)
        np.testing.assert_allclose(*(result.class_scores for result in results), atol=1e-5)
        found.append(results[0].class_scores[0])
    assert np.std(found) > 1e-3
    session = ours._engine._session
    assert session.get_inputs()[0].shape == ["batch", 3, 160, 160]


@pytest.mark.slow
def test_a_file_tells_what_it_is(exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported)
    meta = json.loads({prop.key: prop.value for prop in model.metadata_props}[KEY])
    told = {key: meta[key] for key in ("task", "classes", "crop", "resize", "licence")}
    assert told == dict(
        task="classification",
        classes=list(CLASSES),
        crop=[160, 160],
        resize=dict(shorter=160, mode="bicubic"),
        licence="random weights: yours",
    )
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}


@pytest.mark.slow
def test_a_file_runs_without_torch(exported: Path, toy: Path) -> None:
    image = find_images(toy / "classes")[0]
    code = RUN.format(model=str(exported), image=str(image))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    best, heavy = run.stdout.strip().rsplit("[", 1)
    assert set(json.loads(best.replace("'", '"'))) == set(CLASSES)
    assert heavy == "]"


@pytest.mark.slow
def test_the_accuracy_is_that_of_pytorch(checkpoint: Path, exported: Path, toy: Path) -> None:
    root = str(toy / "classes")
    data = check.read_data(root, "classification", CLASSES)
    assert list(data.labels) == [0, 0, 1]
    host = HostModel(read_trained(checkpoint), "cpu")
    scores = check.measure(data, {"PyTorch": host, "float32": OnnxModel(exported)})
    assert scores["PyTorch"] == scores["float32"]
    right = sum(
        host([host.read(path)])[0].class_scores.argmax() == label
        for path, label in zip(data.images, data.labels, strict=True)
    )
    assert scores["PyTorch"]["top-1"] == pytest.approx(100 * right / 3)


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        ([dict(type="Resize", size=160)], "expected Resize.* and then CenterCrop"),
        ([dict(type="CenterCrop", size=160), dict(type="Resize", size=160)], "expected Resize"),
        (
            [dict(type="Resize", size=(160, 160)), dict(type="CenterCrop", size=160)],
            "expected Resize",
        ),
        (
            [
                dict(type="Resize", size=160, interpolation="nearest"),
                dict(type="CenterCrop", size=160),
            ],
            "expected Resize",
        ),
        (
            [dict(type="Resize", size=160), dict(type="CenterCrop", size="os.system")],
            "expected Resize",
        ),
        ("Resize", "no test_dataloader with a transforms"),
    ],
)
def test_other_transforms_are_named(
    transforms: object, said: str, config: Config, tmp_path: Path
) -> None:
    text = config.pretty_text + "\n"
    loader = dict(dataset=dict(type="hiera_dense.ClassFolders", transforms=transforms))
    text += f"test_dataloader = {loader!r}\nval_dataloader = None\n"
    meta = dict(cfg=text, dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict={"a": torch.zeros(1)}, meta=meta), tmp_path / "a.pth")
    with pytest.raises((SetupError, CheckpointError), match=said):
        read_trained(tmp_path / "a.pth")


def test_what_a_classifier_cannot_is_named(checkpoint: Path) -> None:
    with pytest.raises(SetupError, match="tile of a classifier; expected a detector or a segm"):
        Predictor(checkpoint, tile=256)
    with pytest.raises(SetupError, match="no tta_model and tta_pipeline; expected both"):
        Predictor(checkpoint, tta=True)


def test_the_page_is_for_objects_and_pixels(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio")
    with pytest.raises(SystemExit, match=r"a classifier; expected a detector or a segmenter"):
        run_in_process(monkeypatch, serve.main, checkpoint, "--port", "0")
