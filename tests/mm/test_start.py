"""What a training begins with: `--weights`, `--size`, `--batch`, and what a run began with."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from support.common import ROOT
from support.documents import examples
from support.own_data import recipe
from support.training import Refused

from hiera_dense import Hiera
from hiera_dense.cli import train
from hiera_dense.cli.options import run_parser
from hiera_dense.cli.start import add_start_options, load_start
from hiera_dense.errors import SetupError
from hiera_dense.mm.record import start_of
from hiera_dense.mm.start_weights import set_weights, try_weights, weights_in


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--batch", "0"], r"argument --batch: 0; expected a number, 1 or more, or auto"),
        (["--batch", "9"], r"a batch of 9 .* with 8 training images; expected --batch 8 or less"),
        (["--batch", "auto"], r"--batch auto needs a GPU; expected --batch N, or"),
        (["--size", "100"], r"--size 100; expected a multiple of 32 px, such as 96"),
        (["--weights", "sam2.1_hiera_tyni"], r"did you mean .*sam2.1_hiera_tiny"),
        (["--weights", "gone.pth"], r"gone\.pth: no such file"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    args: list[str], message: str, toy: Path, tmp_path: Path, refused: Refused
) -> None:
    data = ("--data", toy / "instances", "--work-dir", tmp_path / "run")
    said = refused(train.main, recipe("mask-rcnn"), *data, *args)
    assert re.search(message, said)
    assert not (tmp_path / "run").exists()


def test_other_recipes_have_no_size_or_batch(toy: Path, refused: Refused) -> None:
    other = ROOT / "configs/mask_rcnn/mask-rcnn_hiera-t_fpn_1xb2-200i_coco-folder.py"
    said = refused(train.main, other, "--data", toy / "instances", "--batch", "4")
    assert re.search(r"--batch 4: .* does not support --batch; expected a recipe named", said)


def test_weights_of_another_arch_are_refused_with_what_fits(
    toy: Path, tmp_path: Path, refused: Refused
) -> None:

    torch.save(Hiera("sam2_small").state_dict(), tmp_path / "small.pth")
    data = ("--data", toy / "instances", "--work-dir", tmp_path / "run")
    said = refused(train.main, recipe("mask-rcnn"), *data, "--weights", tmp_path / "small.pth")
    assert re.search(
        r"these weights fit arch 'sam2_small'.*Expected --weights with .*'sam2_tiny'", said
    )


def test_offline_the_file_to_fetch_and_a_way_without_are_named(
    toy: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hiera_dense.weights import download

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(download, "hf_hub_download", offline)
    monkeypatch.setattr(download.urllib.request, "urlopen", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    data = ("--data", toy / "instances", "--work-dir", tmp_path / "run")
    said = refused(train.main, recipe("mask-rcnn"), *data)
    assert "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt" in said
    assert "--weights none" in said


def test_every_config_of_ours_can_start_from_other_weights(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trunk = Hiera("sam2_tiny")
    torch.save(trunk.state_dict(), tmp_path / "weights.pth")
    name = "mask_rcnn/mask-rcnn_hiera-t-sam2_fpn_8xb2-amp-1x_coco.py"
    cfg = Config.fromfile(ROOT / "configs" / name)
    set_weights(cfg, str(tmp_path / "weights.pth"))
    assert weights_in(cfg.model) == str(tmp_path / "weights.pth")
    said = try_weights(cfg)
    assert said
    assert f"{len(trunk.state_dict())} parameters filled" in said
    assert "licence of these weights: unknown" in said
    set_weights(cfg, None)
    assert weights_in(cfg.model) is None
    assert try_weights(cfg) is None
    cfg.model.backbone = dict(type="SwinTransformer")
    with pytest.raises(SetupError, match=r"is a SwinTransformer; expected a config with a hiera_d"):
        set_weights(cfg, None)


def test_what_cfg_options_say_is_not_overridden_by_what_follows_from_an_option(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # where float16 is the default
    parser = run_parser(None, "")
    add_start_options(parser)
    settings = [
        "optim_wrapper.paramwise_cfg.layer_decay_rate=0.9",
        "optim_wrapper.type=OptimWrapper",
    ]
    common = [str(recipe("mask-rcnn")), "--data", str(toy / "instances"), "--weights", "none"]
    found = [
        load_start(parser.parse_args([*common, *more]), None).optim_wrapper
        for more in ([], ["--cfg-options", *settings])
    ]
    assert [wrapper.paramwise_cfg.layer_decay_rate for wrapper in found] == [1.0, 0.9]
    assert [wrapper.type for wrapper in found] == ["AmpOptimWrapper", "OptimWrapper"]
    assert [wrapper.get("loss_scale") for wrapper in found] == ["dynamic", None]


def test_a_strangers_record_is_values_or_refused(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIERA_DENSE_DATA", str(toy / "instances"))
    cfg, record = Config.fromfile(recipe("mask-rcnn")), tmp_path / "record.py"
    cfg.dump(record)
    start = start_of(record)
    assert start == (cfg.choices.to_dict(), "sam2.1_hiera_tiny", False)
    cfg.choices.size = "640"
    cfg.dump(record)
    with pytest.raises(SetupError, match=r"expected choices, model and optim_wrapper of a run"):
        start_of(record)
    record.write_text("choices = __import__('os').getcwd()")
    with pytest.raises(SetupError, match="cannot be read as plain values"):
        start_of(record)
    record.write_text("own_data = dict()")
    assert start_of(record) is None


def test_options_other_than_those_of_the_run_are_refused(
    toy: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIERA_DENSE_DATA", str(toy / "instances"))
    path = recipe("mask-rcnn")
    Config.fromfile(path).dump(tmp_path / path.name)
    for args, had in (("--batch 4", "2"), ("--size 64", "640"), ("--weights none", "sam2.1_hie")):
        run = ("--work-dir", tmp_path, "--resume", *args.split())
        said = refused(train.main, path, *run)
        assert re.search(rf"{args} with --resume: the run began with {had}.*; expected that", said)


def test_the_example_of_vertical_flips_flips_both_ways(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIERA_DENSE_DATA", str(toy / "instances"))
    (example,) = [text for text in examples("docs/own-data.md") if "vertical" in text]
    (tmp_path / "config.py").write_text(example)
    cfg = Config.fromfile(tmp_path / "config.py")
    flips = [t for t in cfg.train_dataloader.dataset.pipeline if t.type == "RandomFlip"]
    assert [flip.direction for flip in flips] == [["horizontal", "vertical"]]
