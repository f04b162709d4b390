"""Configs inside checkpoints of strangers: read as data, built from registered types alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from hiera_dense.errors import CheckpointError, SetupError
from hiera_dense.mm.admitted import admitted
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
    with pytest.raises(SetupError, match=r"type 'mmdet.apis.init_detector' in the config"):
        admitted(dict(type="mmdet.apis.init_detector"), "mmdet")


@pytest.mark.parametrize(
    ("text", "meta", "said"),
    [
        ("model = dict(", {}, "cannot be used .*; expected plain values"),
        (text_of(default_scope="mmpose"), {}, "scope 'mmpose'; expected a detector of MMDetection"),
        (
            text_of(default_scope="hiera_dense"),
            {},
            "a classifier or a masked autoencoder; ",
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
def test_recipes_as_they_stand_in_checkpoints_are_admitted(path: Path) -> None:
    cfg = Config.fromfile(path)
    scope = cfg.default_scope
    settings = settings_of(cfg.pretty_text)
    assert settings["optim_wrapper"] == cfg.optim_wrapper.to_dict()
    assert admitted(settings["model"], scope)["type"] == cfg.model.type
    admitted(settings["test_dataloader"]["dataset"]["pipeline"], scope)
    for key in {"tta_model", "tta_pipeline"} & set(settings):
        admitted(settings[key], scope)
