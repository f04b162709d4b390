"""Without OpenMMLab: the examples of docs/pytorch.md, and the interface of timm."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support import peers
from support.common import relative_error, shallow
from support.documents import examples
from timm.models._features import FeatureGetterNet
from timm.optim import create_optimizer_v2

from hiera_dense.model.classifier import Classifier
from hiera_dense.model.hiera import Hiera
from hiera_dense.weights.load import load_pretrained


def run_example(word: str) -> dict[str, Any]:
    """Run the one example that has a word in it."""
    (example,) = [text for text in examples("docs/pytorch.md") if word in text]
    names: dict[str, Any] = {}
    exec(example, names)
    return names


def test_a_plain_loop_pretrains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_example("save_pretrained")
    assert names["loss"].isfinite()
    assert torch.equal(names["trunk"].pos_embed, names["model"].pos_embed)
    undecayed = [g["params"] for g in names["optimizer"].param_groups if not g["weight_decay"]]
    tables = {name for name, p in names["model"].named_parameters() if p.ndim > 2}
    ids = {id(p) for params in undecayed for p in params}
    by_id = {id(p): name for name, p in names["model"].named_parameters()}
    assert {by_id[i] for i in ids} & tables == {"pos_embed", "decoder_pos_embed", "mask_token"}


def test_clips_have_the_shapes_that_the_readme_shows(capsys: pytest.CaptureFixture[str]) -> None:
    run_example("16, 128, 160")
    (example,) = [text for text in examples("docs/pytorch.md") if "16, 128, 160" in text]
    assert f"# {capsys.readouterr().out.strip()}" in example


@pytest.mark.parametrize("indices", [None, 2, [0, 2], [-1, 1], (3,)])
@pytest.mark.parametrize("form", ["NCHW", "NHWC"])
@torch.no_grad()
def test_intermediates_equal_timms(indices: Any, form: str, tmp_path: Path) -> None:
    peer = peers.of_timm("hiera_tiny_224")
    trunk = Hiera("tiny").eval()
    load_pretrained(trunk, peers.save_bare(peer, tmp_path))
    images = torch.randn(1, 3, 224, 224)
    settings = dict(indices=indices, output_fmt=form, intermediates_only=True)
    theirs = peer.forward_intermediates(images, **settings)
    ours = trunk.forward_intermediates(images, **settings)
    errors = [relative_error(a, b) for a, b in zip(ours, theirs, strict=True)]
    assert max(errors) < 1e-4


def test_stopping_early_leaves_later_stages_out() -> None:
    trunk = Hiera(shallow("tiny")).eval()
    images = torch.randn(1, 3, 64, 96)
    ran: list[int] = []
    for i, block in enumerate(trunk.blocks):
        block.register_forward_pre_hook(lambda *_, i=i: ran.append(i))
    last, maps = trunk.forward_intermediates(images, [0, 1], stop_early=True)
    assert ran == [0, 1, 2]
    assert torch.equal(last.movedim(-1, 1), maps[-1])
    last, maps = trunk.forward_intermediates(images, [0, 1])
    assert torch.equal(last, trunk(images))


@pytest.mark.parametrize("name", ["tiny", "base_plus", "base_16x224"])
def test_feature_info_says_what_comes(name: str) -> None:
    trunk = Hiera(shallow(name))
    images = torch.randn(1, 3, *((4,) if "16x" in name else ()), 64, 96)
    maps = trunk.forward_intermediates(images, intermediates_only=True)
    for info, features in zip(trunk.feature_info, maps, strict=True):
        assert features.shape[1] == info["num_chs"]
        assert features.shape[-2:] == (64 // info["reduction"], 96 // info["reduction"])
        assert trunk.get_submodule(info["module"]) is not None


def test_timms_feature_extractor_takes_a_trunk() -> None:
    features = FeatureGetterNet(Hiera(shallow("tiny")), out_indices=(1, 3))
    assert features.feature_info.channels() == [192, 768]
    assert features.feature_info.reduction() == [8, 32]
    assert [m.shape[1] for m in features(torch.randn(1, 3, 64, 64))] == [192, 768]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(indices=[4]), r"indices \[4\]; expected some of 0 to 3"),
        (dict(indices=[]), "expected some of 0 to 3"),
        (dict(norm=True), "norm=True; expected False"),
        (dict(output_fmt="NLC"), "output_fmt 'NLC'; expected 'NCHW' or 'NHWC'"),
    ],
)
def test_bad_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hiera(shallow("tiny")).forward_intermediates(torch.zeros(1, 3, 64, 64), **settings)


def test_depths_come_from_the_trunk_and_a_head_is_on_top() -> None:
    model = Classifier(shallow("tiny"))
    depths = {name: model.get_layer_depth(name)[0] for name, _ in model.named_parameters()}
    assert {depths[n] for n in depths if n.startswith(("pos_embed", "patch_embed"))} == {0}
    assert depths["blocks.0.norm1.weight"] == 1
    other = ("blocks.1.norm1.weight", "backbone.trunk.")
    assert model.get_layer_depth(*other) == (len(model.blocks) + 1, len(model.blocks) + 2)
    assert depths["head.projection.weight"] == depths["norm.bias"] == len(model.blocks) + 1
    assert create_optimizer_v2(model, opt="adamw", lr=1e-4, weight_decay=0.05)
