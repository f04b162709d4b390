"""Configs inside checkpoints of strangers: read as data, built from registered types alone."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS

from hiera_dense.data.folders import VARIABLE
from hiera_dense.errors import CheckpointError, SetupError
from hiera_dense.mm.admitted import admitted
from hiera_dense.mm.bounded import no_larger_than
from hiera_dense.mm.record import settings_of
from hiera_dense.mm.trained import read_trained
from hiera_dense.recipes import matching

PLAIN = dict(
    default_scope="mmdet",
    model=dict(type="RetinaNet", backbone=dict(type="ResNet", depth=18)),
    test_dataloader=dict(dataset=dict(type="X", pipeline=[dict(type="LoadImageFromFile")])),
)
CLASSES = dict(classes=("cat", "dog"))


def write(path: Path, text: str, **meta: Any) -> Path:
    state = {"weight": torch.zeros(2)}
    torch.save(dict(state_dict=state, meta=dict(cfg=text, dataset_meta=CLASSES) | meta), path)
    return path


def text_of(**changes: Any) -> str:
    return "\n".join(f"{key} = {value!r}" for key, value in {**PLAIN, **changes}.items())


def test_a_config_is_read_as_plain_values() -> None:
    text = "a = dict(b=[1, (2, None)], c={'x': -1.5, 3: True})\nb = inf\na = 'twice'\nc, d = 1, 2\n"
    assert settings_of(text.replace("a = 'twice'\n", "")) == {
        "a": {"b": [1, (2, None)], "c": {"x": -1.5, 3: True}},
        "b": float("inf"),
    }
    assert settings_of(text, {"a"}) == {"a": "twice"}
    for bad in ("a = open('x')", "a = dict(**b)", "a = [i for i in b]", "a =", "a = b.c"):
        with pytest.raises(ValueError, match=r"line|invalid|not"):
            settings_of(bad)


def test_checkpoints_with_programs_for_configs_are_refused(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    program = f"__import__('os').system('touch {mark}')"
    backbone: dict[str, Any] = dict(type="ResNet", depth=18)
    for number, text in enumerate(
        (
            f"{program}\n{text_of()}",  # a statement that is not read
            text_of() + f"\nmodel = {program}",
            text_of(model=dict(type="os.system", command=f"touch {mark}")),
            text_of(model=dict(type="subprocess.run", args=["touch", str(mark)])),
            text_of(
                model=dict(type="RetinaNet", backbone=dict(type="mmengine.fileio.io.os.system"))
            ),
            text_of(model=dict(type="RetinaNet", test_cfg=dict(nms=dict(type=program)))),
            text_of(model=dict(type="RetinaNet", backbone=backbone | dict(warp_mode=program))),
            text_of(model=dict(type="RetinaNet", backbone=backbone | dict(x="http://a/b.pth"))),
            text_of(
                test_dataloader=dict(
                    dataset=dict(pipeline=[dict(type="LoadImageFromFile"), dict(type="os.abort")])
                )
            ),
        )
    ):
        path = write(tmp_path / f"{number}.pth", text)
        if number == 0:
            read_trained(path)
        else:
            with pytest.raises(CheckpointError, match="the config inside it cannot be used"):
                read_trained(path)
    assert not mark.exists()


CALLED = "[c['x'] for c in [cv2.error] for c.__class_getitem__ in [torch.os.system]]"


@pytest.mark.parametrize(
    "settings",
    [
        dict(type="CameraMotionCompensation", warp_mode=CALLED),  # it evaluates it
        dict(type="CameraMotionCompensation", warp_mode="{x for x.y in z}"),
        dict(type="KnowledgeDistillationSingleStageDetector", teacher_config="teacher.py"),
        dict(type="CrossEntropyLoss", class_weight="weights.pkl"),  # a pickle
        dict(type="CrossEntropyLoss", class_weight="pkl"),  # of that name alone
        dict(type="CrossEntropyLoss", class_weight=b"pkl"),
        dict(type="hiera_dense.SlidingDetector", detector="subprocess.run"),
        dict(type="mmseg.TIMMBackbone", model_name="hf_hub:stranger/model"),
        dict(type="FPN", _scope_="antigravity"),  # it is imported
        dict(type="FPN", _scope_=["mmdet"]),
    ],
    ids=lambda settings: str(list(settings.values())[-1]),
)
def test_settings_that_name_programs_and_files_are_refused(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pkl").write_text("")
    with pytest.raises(SetupError, match="in the config of a checkpoint; expected"):
        admitted(dict(type="RetinaNet", part=[settings]), "mmdet")


def test_settings_of_the_hosts_are_plain() -> None:
    words = ["regnetx_3.2gf", "[CLS]", ".", "bert-base-uncased", "a cat, a dog", "open-mmlab", ""]
    assert admitted(words, "mmdet") == words
    images = dict(type="LoadImageFromFile", backend_args=dict(backend="memcached", sys_path="/a"))
    assert admitted(images, "mmdet") == dict(type="LoadImageFromFile")
    assert admitted(dict(type="FCNHead", _scope_="mmseg"), "mmdet")["type"] == "FCNHead"


@pytest.mark.parametrize(
    "settings",
    [
        dict(type="stranger"),
        dict(type="FPN", norm_cfg=dict(type="Normalize")),  # of another registry: it is imported
        dict(type="hiera_dense.SlidingDetector", detector="stranger", slide={}),
        dict(type="mmengine.RandomResize", scale=(8, 8), resize_type="stranger"),
    ],
    ids=["type", "other-registry", "detector", "resize"],
)
def test_nothing_is_imported_that_lies_beside_a_checkpoint(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stranger", "Normalize"):
        (tmp_path / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SetupError, match="in the config of a checkpoint; expected"):
        admitted(settings, "mmdet")
    assert "stranger" not in sys.modules


def test_folders_beside_a_checkpoint_are_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert admitted(dict(mode="whole"), "mmseg") == dict(mode="whole")


def test_networks_far_larger_than_their_weights_are_not_built() -> None:
    large = dict(type="mmdet.ResNet", depth=18, base_channels=64)
    state = {"weight": torch.zeros(2)}
    for settings in (dict(large, base_channels=512), dict(large, in_channels=10**5)):
        with no_larger_than(state), pytest.raises(SetupError, match="far larger than its weights"):
            MODELS.build(settings)
    with no_larger_than(state), pytest.raises(SetupError, match="far larger than its weights"):
        torch.nn.ModuleList(torch.nn.ReLU() for _ in range(10**5))
    with no_larger_than({"weight": torch.zeros(2_000_000)}):
        MODELS.build(large)
    assert len(torch.nn.ModuleList(torch.nn.ReLU() for _ in range(60_000))) == 60_000


def test_where_a_training_starts_and_its_data_are_left_out(tmp_path: Path) -> None:
    backbone = dict(type="ResNet", depth=18, init_cfg=dict(type="Pretrained", checkpoint="x://y"))
    data = dict(type="os.system", ann_file="https://a/b", pipeline=[dict(type="LoadImageFromFile")])
    wrapped = dict(type="RepeatDataset", dataset=data, times=2)
    model = dict(type="RetinaNet", pretrained="x://y", backbone=backbone)
    text = text_of(model=model, test_dataloader=dict(batch_size=1, dataset=wrapped))
    trained = read_trained(write(tmp_path / "a.pth", text))
    assert trained.model == dict(type="RetinaNet", backbone=dict(type="ResNet", depth=18))
    assert trained.pipeline == [dict(type="LoadImageFromFile")]
    assert trained.classes == ("cat", "dog")


def test_types_written_as_paths_are_the_registered_ones() -> None:
    found = admitted(dict(type="mmdet.models.detectors.RetinaNet", neck=dict(type="FPN")), "mmdet")
    assert found == dict(type="mmdet.RetinaNet", neck=dict(type="FPN"))
    ours = admitted(dict(type="mmcv.transforms.loading.LoadImageFromFile"), "mmdet")
    assert TRANSFORMS.build(ours)
    with pytest.raises(SetupError, match=r"type 'mmdet.apis.init_detector' in the config"):
        admitted(dict(type="mmdet.apis.init_detector"), "mmdet")


@pytest.mark.parametrize(
    ("text", "meta", "said"),
    [
        ("model = dict(", {}, "cannot be used .*; expected plain values"),
        (text_of(default_scope="mmpose"), {}, "scope 'mmpose'; expected a detector of MMDetection"),
        (
            text_of(default_scope="mmengine"),
            {},
            "a masked autoencoder; expected a detector .* or a classifier of hiera_dense",
        ),
        (text_of(model="x"), {}, "no model in its config; expected dict"),
        (text_of(test_dataloader=3), {}, "no test_dataloader with a pipeline; expected"),
        (
            text_of(test_dataloader=dict(dataset=dict(pipeline=["x"]))),
            {},
            "no test_dataloader with",
        ),
        (text_of(test_dataloader=None), {}, "no test_dataloader with a pipeline; expected"),
        (text_of(), dict(dataset_meta={}), "no names of classes; expected them in meta.dataset_"),
        (text_of(), dict(dataset_meta=dict(classes=(1, 2))), "no names of classes"),
        ("x" * 1_000_001, {}, "it has 1000001 characters"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, meta: dict[str, Any], said: str) -> None:
    with pytest.raises((CheckpointError, SetupError), match=said):
        read_trained(write(tmp_path / "a.pth", text, **meta))


def test_runs_with_several_best_checkpoints_are_told(tmp_path: Path) -> None:
    for name in ("best_a_iter_1.pth", "best_b_iter_2.pth"):
        write(tmp_path / name, text_of())
    with pytest.raises(SetupError, match=r"best_a_iter_1.pth, best_b_iter_2.pth; expected one of"):
        read_trained(tmp_path)
    (tmp_path / "best_a_iter_1.pth").unlink()
    assert read_trained(tmp_path).name.endswith("best_b_iter_2.pth")
    (tmp_path / "best_b_iter_2.pth").rename(tmp_path / "iter_2.pth")
    assert read_trained(tmp_path).name.endswith("iter_2.pth")


FAMILIES = {
    (path.parent.name, path.stem.split("_")[-1]): path
    for path in matching("*")
    if "folder" not in path.name and path.parent.name not in ("demo", "mae", "classification")
}


@pytest.mark.parametrize("path", FAMILIES.values(), ids=lambda path: path.stem)
def test_recipes_as_they_stand_in_checkpoints_are_admitted(
    path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = "segments" if path.stem.startswith("upernet") else "instances"
    monkeypatch.setenv(VARIABLE, str(toy / data))  # for those that read a folder
    cfg = Config.fromfile(path)
    scope = cfg.default_scope
    settings = settings_of(cfg.pretty_text)
    assert settings["optim_wrapper"] == cfg.optim_wrapper.to_dict()
    assert admitted(settings["model"], scope)["type"] == cfg.model.type
    admitted(settings["test_dataloader"]["dataset"]["pipeline"], scope)
    for key in {"tta_model", "tta_pipeline"} & set(settings):
        admitted(settings[key], scope)


def test_what_mmcv_registers_is_known_after_a_model_without_mmcv() -> None:
    code = (
        "from hiera_dense.mm.admitted import admitted; "
        "admitted(dict(type='hiera_dense.HieraClassifier', act=dict(type='Linear')), 'mmengine'); "
        "print(admitted(dict(type='BN'), 'mmseg'))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[-1:] == ["{'type': 'BN'}"], run.stderr
