"""Loading weights: strict, safe, and all or nothing."""

import io
import logging
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.optim import OneCycleLR
from safetensors.torch import save_file
from support.common import Runs, randomize, relative_error, small_network
from torch import Tensor, nn

from hiera_dense.errors import CheckpointError
from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.mm.safe_loading import load_from_file
from hiera_dense.model.hiera import Hiera
from hiera_dense.weights import download, files, pickles
from hiera_dense.weights.catalog import NON_COMMERCIAL, PERMISSIVE, WEIGHTS
from hiera_dense.weights.load import load_pretrained

SMALL = small_network(8, (1, 1, 1, 1))
State = dict[str, Tensor]


@pytest.fixture
def weights() -> State:
    trunk = Hiera(SMALL)
    randomize(trunk)
    return trunk.state_dict()


def saved(content: Any, to: Path, name: str = "weights.pth") -> Path:
    torch.save(content, to / name)
    return to / name


def assert_filled(model: nn.Module, expected: State) -> None:
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def drop(state: State) -> None:
    del state["blocks.2.norm1.bias"]


def rename(state: State) -> None:
    state["blocks.2.norm_1.bias"] = state.pop("blocks.2.norm1.bias")


def reshape(state: State) -> None:
    state["blocks.2.norm1.bias"] = torch.zeros(5)


def add(state: State) -> None:
    state["blocks.4.norm1.bias"] = torch.zeros(64)


def another_table(state: State) -> None:
    state["pos_embed"] = torch.zeros(1, 32 * 32, 8)


def flat(state: State) -> None:
    state["patch_embed.proj.weight"] = torch.zeros(7)


def flat_table(state: State) -> None:
    state["pos_embed"] = torch.zeros(7)


def nan(state: State) -> None:
    state["blocks.3.mlp.fc1.weight"][3, 2] = float("nan")


def infinite(state: State) -> None:
    state["patch_embed.proj.weight"][3, 2] = -float("inf")


BROKEN: dict[str, tuple[Callable[[State], None], str]] = {
    "missing": (drop, "not the weights of this trunk; missing: blocks.2.norm1.bias$"),
    "renamed": (rename, "missing: blocks.2.norm1.bias; unexpected: blocks.2.norm_1.bias"),
    "reshaped": (reshape, r"another shape: blocks.2.norm1.bias \(5,\), expected \(16,\)"),
    "too many": (add, "unexpected: blocks.4.norm1.bias"),
    "another table": (another_table, r"pos_embed \(1, 1024, 8\), expected \(1, 3136, 8\)"),
    "flat patches": (flat, r"another shape: patch_embed.proj.weight \(7,\), expected \(8, 3, 7"),
    "a flat table": (flat_table, r"another shape: pos_embed \(7,\), expected \(1, 3136, 8\)"),
    "NaN": (nan, "NaN or infinity in blocks.3.mlp.fc1.weight; expected finite"),
    "infinity": (infinite, "NaN or infinity in patch_embed.proj.weight; expected finite"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_weights_that_do_not_fit_are_named_and_touch_nothing(
    what: str, weights: State, tmp_path: Path
) -> None:
    change, message = BROKEN[what]
    change(weights)
    path = saved(weights, tmp_path)
    backbone = HieraBackbone(SMALL)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(backbone, path)
    assert_filled(backbone, before)


def test_weights_of_another_arch_say_which(tmp_path: Path) -> None:
    path = saved(Hiera("tiny").state_dict(), tmp_path)
    with pytest.raises(CheckpointError, match="these weights fit arch 'tiny'"):
        load_pretrained(Hiera("small"), path)
    with pytest.raises(CheckpointError, match=r"missing: pos_embed_spatial.* fit arch 'tiny'"):
        load_pretrained(Hiera("base_16x224"), path)


def test_a_model_that_cannot_be_filled_is_named() -> None:
    with pytest.raises(TypeError, match="a Linear; expected a Hiera, or a model with one"):
        load_pretrained(nn.Linear(2, 2), "hiera_tiny_224.mae_in1k")
    with torch.device("meta"):
        trunk = Hiera(SMALL)
    with pytest.raises(CheckpointError, match="on the meta device"):
        load_pretrained(trunk, "hiera_tiny_224.mae_in1k")


CLIPS = SMALL | dict(mask_unit=(1, 8, 8), q_stride=(1, 2, 2), patch_kernel=(3, 7, 7))
CLIPS |= dict(patch_stride=(2, 4, 4), patch_padding=(1, 3, 3), pos_embed=dict(kind="separable"))
WINDOWS = SMALL | dict(pos_embed=dict(kind="absolute_win"), layer_scale=1.0)


@pytest.mark.parametrize("arch", [SMALL, CLIPS, WINDOWS], ids=["absolute", "clips", "absolute win"])
def test_every_single_parameter_is_required(arch: dict, tmp_path: Path) -> None:
    trunk = Hiera(arch)
    weights = trunk.state_dict()
    for name in weights:
        if name == "patch_embed.proj.weight":  # without it no trunk is seen at all
            continue
        less = {n: t for n, t in weights.items() if n != name}
        with pytest.raises(CheckpointError, match=f"missing: {name}"):
            load_pretrained(trunk, saved(less, tmp_path))


def test_what_shapes_do_not_show_is_told(tmp_path: Path) -> None:
    with torch.device("meta"):
        published = Hiera("small_abswin")
    path = saved({n: torch.ones(t.shape) for n, t in published.state_dict().items()}, tmp_path)
    arch = dict(embed_dim=96, num_heads=2, stages=(1, 2, 11, 2), layer_scale=1.0, expand_proj=False)
    trunk = Hiera(arch, pos_embed=dict(kind="absolute_win", size=(16, 16)))
    assert load_pretrained(trunk, path).changes == (
        "num_heads 2, where arch 'small_abswin' has 1",
        "antialias False, where arch 'small_abswin' has True",
    )


@pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors"])
def test_what_is_loaded_is_told_in_two_lines(
    suffix: str, weights: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"weights.{suffix}"
    content = weights | {"head.fc.weight": torch.zeros(2, 64), "head.fc.bias": torch.zeros(2)}
    save_file(content, path) if suffix == "safetensors" else torch.save(content, path)
    trunk = Hiera(SMALL)
    with caplog.at_level(logging.WARNING, "hiera_dense"):
        report = load_pretrained(trunk, path)
    assert_filled(trunk, weights)
    assert [record.message for record in caplog.records] == [str(report)]
    assert str(report).splitlines() == [
        f"{path}: timm Hiera, {len(weights)} parameters filled; not used: head (2)",
        "licence of these weights: unknown",
    ]


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_checkpoint_of_a_training_fills_backbone_and_output_norms(
    wrapped: bool, tmp_path: Path
) -> None:
    trained = HieraBackbone(SMALL)
    randomize(trained)
    state = {f"backbone.{name}": tensor for name, tensor in trained.state_dict().items()}
    state["neck.convs.0.weight"] = torch.zeros(3)
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    content = dict(meta=dict(iter=3), state_dict=state, message_hub=dict(loss=history))
    path = saved(content if wrapped else trained.state_dict(), tmp_path)
    backbone = HieraBackbone(SMALL)
    report = load_pretrained(backbone, path)
    assert_filled(backbone, trained.state_dict())
    assert "8 of them in the head or decoder; not used: neck (1)" in str(report) or not wrapped
    trunk = Hiera(SMALL)
    load_pretrained(trunk, path)
    assert_filled(trunk, trained.trunk.state_dict())


NEW_NORMS = "norm0.weight, norm0.bias, norm1.weight, norm1.bias"


def test_output_norms_are_looked_at_too(tmp_path: Path) -> None:
    state = HieraBackbone(SMALL).state_dict()
    state["norm2.weight"][3] = float("nan")
    with pytest.raises(CheckpointError, match=r"NaN or infinity in norm2\.weight"):
        load_pretrained(HieraBackbone(SMALL), saved(state, tmp_path))


def test_output_norms_of_other_stages_are_left(tmp_path: Path) -> None:
    trained = HieraBackbone(SMALL)
    randomize(trained)
    path = saved(trained.state_dict(), tmp_path)
    fewer = HieraBackbone(SMALL, out_indices=(2, 3))
    load_pretrained(fewer, path)
    assert torch.equal(fewer.norm2.weight, trained.norm2.weight)
    path = saved(fewer.state_dict(), tmp_path)
    changes = load_pretrained(HieraBackbone(SMALL), path).changes
    assert changes == ("4 of them in the head or decoder", f"randomly initialised: {NEW_NORMS}")
    plain = HieraBackbone(SMALL, out_norm=False)
    assert "output norms" not in str(load_pretrained(plain, path))


@torch.no_grad()
def test_other_channels_adapt_the_patch_embedding(weights: State, tmp_path: Path) -> None:
    path = saved(weights, tmp_path)
    trunk, grey, five = (Hiera(SMALL, in_channels=n).eval() for n in (3, 1, 5))
    load_pretrained(trunk, path)
    assert "adapted from 3 channels to 1" in str(load_pretrained(grey, path))
    assert "adapted from 3 channels to 5" in str(load_pretrained(five, path))
    image = torch.randn(1, 1, 64, 64)
    assert relative_error(grey(image), trunk(image.expand(1, 3, 64, 64))) < 1e-5
    three = weights["patch_embed.proj.weight"]
    expected = torch.cat([three, three[:, :2]], dim=1) * 3 / 5
    assert relative_error(five.patch_embed.proj.weight, expected) < 1e-6
    path = saved(five.state_dict(), tmp_path)
    with pytest.raises(CheckpointError, match="for 5 channels, in_channels is 1; expected as many"):
        load_pretrained(grey, path)
    load_pretrained(Hiera(SMALL, in_channels=5), path)


def test_an_absolute_table_fills_absolute_win(weights: State, tmp_path: Path) -> None:
    path = saved(weights, tmp_path)
    table = weights["pos_embed"].reshape(7, 8, 7, 8, 8)  # rows, u, columns, v, channels
    trunk = Hiera(SMALL, pos_embed=dict(kind="absolute_win"))
    assert "absolute position table read as absolute win" in str(load_pretrained(trunk, path))
    window = table.mean((0, 2))
    means = table.mean((1, 3)) - window.mean((0, 1))
    assert relative_error(trunk.pos_embed_window[0].permute(1, 2, 0), window) < 1e-5
    assert relative_error(trunk.pos_embed[0].permute(1, 2, 0), means) < 1e-5
    load_pretrained(Hiera(SMALL, pos_embed=dict(kind="absolute_win", size=(14, 14))), path)
    with pytest.raises(CheckpointError, match="unexpected: pos_embed_window"):
        load_pretrained(Hiera(SMALL), saved(trunk.state_dict(), tmp_path))


def test_a_global_part_that_no_file_has_starts_at_zero(weights: State, tmp_path: Path) -> None:
    tiled = dict(resize="tile", global_size=(7, 7))
    trunk = Hiera(SMALL, pos_embed=tiled)
    randomize(trunk)
    report = load_pretrained(trunk, saved(weights, tmp_path))
    assert "pos_embed_global starts at zero" in str(report)
    assert not trunk.pos_embed_global.any()
    trained = trunk.state_dict() | {"pos_embed_global": torch.ones(1, 8, 7, 7)}
    load_pretrained(trunk, saved(trained, tmp_path))
    assert trunk.pos_embed_global.all()


def hostile(weights: State, to: Path, new: bool = True) -> Path:
    content = dict(state_dict=weights, meta=Runs(to / "ran"))
    torch.save(content, to / "hostile.pth", _use_new_zipfile_serialization=new)
    return to / "hostile.pth"


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_file_is_refused_and_not_run(new: bool, weights: State, tmp_path: Path) -> None:
    path = hostile(weights, tmp_path, new)
    backbone = HieraBackbone(SMALL, init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    for load in (
        lambda: load_pretrained(Hiera(SMALL), path),
        lambda: backbone.init_weights(),
        lambda: files.read(path),
    ):
        with pytest.raises(CheckpointError, match=r"refused, since loading it could run code.*sys"):
            load()
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False)  # the file is what it is said to be
    assert (tmp_path / "ran").exists()


class Gets:
    """A pickle of it asks for an attribute of a class that is not admitted for that."""

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (nn.Linear, "__init__")


def test_no_function_of_the_file_is_real(tmp_path: Path) -> None:
    """Histories and functions of schedules come as stand-ins that do nothing."""
    path = saved(dict(meta=Gets()), tmp_path)
    with pytest.raises(CheckpointError, match="refused"):
        files.read(path)
    content, _ = files.read(saved(dict(loss=HistoryBuffer([1.0, 4.0], [1, 1])), tmp_path))
    assert isinstance(content["loss"], pickles.Inert)
    statistics = vars(content["loss"])["statistics_methods"]
    assert statistics["mean"] == pickles.Attribute("HistoryBuffer", "mean")


def test_a_run_goes_on_with_its_history_and_its_schedule(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    schedule = OneCycleLR(optimizer, eta_max=0.1, total_steps=9)
    history = HistoryBuffer([1.0, 4.0], [1, 1])
    content = dict(
        message_hub=dict(log_scalars=dict(loss=history)),
        param_schedulers=[schedule.state_dict()],
        meta=dict(dataset_meta=ConfigDict(classes=("a", "b"))),
    )
    revived = load_from_file(str(saved(content, tmp_path)))
    again = revived["message_hub"]["log_scalars"]["loss"]
    assert (again.mean(), again.statistics("max")) == (2.5, 4.0)
    other = OneCycleLR(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), 0.1, total_steps=9)
    other.load_state_dict(revived["param_schedulers"][0])
    assert other.anneal_func(1.0, 0.0, 0.5) == pytest.approx(0.5)
    assert revived["meta"]["dataset_meta"] == dict(classes=("a", "b"))


def test_a_program_is_refused_and_not_run(tmp_path: Path) -> None:
    """torch before 2.6 would run TorchScript, and unpack a tar."""
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pth")
    with pytest.raises(CheckpointError, match=r"refused.*TorchScript"):
        files.read(tmp_path / "script.pth")
    with tarfile.open(tmp_path / "PK.pth", "w") as tar:
        tar.addfile(tarfile.TarInfo("PK"), io.BytesIO())
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        files.read(tmp_path / "PK.pth")


def test_what_the_process_admits_elsewhere_is_not_admitted(tmp_path: Path) -> None:
    path = saved(nn.Linear(2, 2), tmp_path)
    torch.serialization.add_safe_globals([nn.Linear])
    try:
        with pytest.raises(CheckpointError, match="refused"):
            files.read(path)
        assert nn.Linear in torch.serialization.get_safe_globals()
    finally:
        torch.serialization.clear_safe_globals()


UNREADABLE = {
    "text": (b"these are words, not weights", "not a checkpoint; expected safetensors, or a"),
    "empty": (b"", "not a checkpoint"),
    "a module": (None, "refused, since loading it could run code.*Linear"),
    "a pickle of another kind": (pickle.dumps({"a": 1}), "refused|damaged|not a checkpoint"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_file_that_is_no_checkpoint_is_named(what: str, tmp_path: Path) -> None:
    content, message = UNREADABLE[what]
    path = tmp_path / "file.pth"
    path.write_bytes(content) if content is not None else torch.save(nn.Linear(2, 2), path)
    with pytest.raises(CheckpointError, match=rf"file\.pth: ({message})"):
        load_pretrained(Hiera(SMALL), path)


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
@pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
def test_a_file_cut_short_is_named(form: str, kept: float, weights: State, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    if form == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=form == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointError, match=r"cut\.pth: (cut short or damaged|refused|not a)"):
        load_pretrained(Hiera(SMALL), path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such file"):
        load_pretrained(Hiera(SMALL), tmp_path / "none.pth")


def test_licences_are_told_and_can_be_required(
    weights: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that are known to be non-commercial are refused before anything is downloaded."""
    named = {weight.licence: name for name, weight in WEIGHTS.items()}

    def no_download(source: download.Source) -> Path:
        raise AssertionError("downloaded")

    monkeypatch.setattr(download, "locate", no_download)
    message = f"licence {NON_COMMERCIAL}, and permissive_only is set; expected one of hiera_small_a"
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(Hiera(SMALL), named[NON_COMMERCIAL], permissive_only=True)
    with pytest.raises(AssertionError, match="downloaded"):
        load_pretrained(Hiera(SMALL), named[PERMISSIVE], permissive_only=True)
    path = tmp_path / "weights.safetensors"
    save_file(weights, path)
    monkeypatch.setattr(download, "locate", lambda source: path)
    report = load_pretrained(Hiera(SMALL), named[NON_COMMERCIAL])
    assert str(report).endswith(f"licence of these weights: {NON_COMMERCIAL}")
    with pytest.raises(CheckpointError, match="licence unknown, and permissive_only is set"):
        load_pretrained(Hiera(SMALL), path, permissive_only=True)
    save_file(weights, path, dict(licence=PERMISSIVE))
    assert load_pretrained(Hiera(SMALL), path, permissive_only=True).licence == PERMISSIVE


class Model(BaseModule):
    """A model of a host, as far as initialisation goes."""

    def __init__(self, backbone: HieraBackbone) -> None:
        super().__init__()
        self.backbone = backbone


@pytest.mark.parametrize("name", ["Pretrained", "hiera_dense.Pretrained"])
def test_a_config_loads_strictly_and_last(name: str, weights: State, tmp_path: Path) -> None:
    pretrained = dict(type=name, checkpoint=str(saved(weights, tmp_path)), map_location="cpu")
    others = dict(type="Constant", layer="Linear", val=7.0)
    backbone = HieraBackbone(SMALL, init_cfg=[pretrained, others])
    Model(backbone).init_weights()
    assert_filled(backbone.trunk, weights)
    backbone = HieraBackbone(SMALL | dict(stages=(1, 1, 1, 2)), init_cfg=pretrained)
    with pytest.raises(CheckpointError, match=r"missing: blocks\.4"):
        Model(backbone).init_weights()


def test_a_config_names_a_prefix_and_a_licence(weights: State, tmp_path: Path) -> None:
    both = {f"{who}.{n}": t for who in ("student", "teacher") for n, t in weights.items()}
    init_cfg = dict(type="Pretrained", checkpoint=str(saved(both, tmp_path)), prefix="teacher.")
    backbone = HieraBackbone(SMALL, init_cfg=init_cfg)
    backbone.init_weights()
    assert_filled(backbone.trunk, weights)
    backbone = HieraBackbone(SMALL, init_cfg=dict(init_cfg, permissive_only=True))
    with pytest.raises(CheckpointError, match="licence unknown"):
        backbone.init_weights()
