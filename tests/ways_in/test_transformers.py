"""Hiera as a backbone of transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import peers
from support.common import randomize, relative_error, small_network
from transformers import (
    AutoBackbone,
    AutoConfig,
    DetrConfig,
    DetrForObjectDetection,
    HieraConfig,
    HieraModel,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    RTDetrConfig,
    RTDetrForObjectDetection,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from hiera_dense import Hiera, HieraBackbone, load_pretrained
from hiera_dense.errors import SetupError
from hiera_dense.transformers import HieraDenseBackbone, HieraDenseConfig

SMALL = small_network(stages=(1, 1, 2, 1))
STAGES = ["stage1", "stage2", "stage3", "stage4"]


def config(**kwargs: Any) -> HieraDenseConfig:
    return HieraDenseConfig(**{"arch": SMALL, "out_features": STAGES, **kwargs})


def small_transformer(**kwargs: Any) -> dict[str, Any]:
    """Settings of a detection transformer, by their names in most configs."""
    return dict(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=5,
        num_labels=3,
        **kwargs,
    )


@torch.no_grad()
def test_the_maps_are_those_of_the_backbone() -> None:
    model = AutoBackbone.from_config(config()).eval()
    assert type(model) is HieraDenseBackbone
    ours = HieraBackbone(SMALL).eval()
    ours.trunk.load_state_dict(model.trunk.state_dict())
    for i, norm in enumerate(model.norms.values()):
        randomize(norm)
        ours.get_submodule(f"norm{i}").load_state_dict(norm.state_dict())
    images = torch.randn(1, 3, 100, 77)
    for one, expected in zip(model(images).feature_maps, ours(images), strict=True):
        assert relative_error(one, expected) < 1e-6
    assert model.channels == [8, 16, 32, 64]


@torch.no_grad()
def test_hidden_states_equal_those_of_transformers_hiera(tmp_path: Path) -> None:
    """Theirs of the classifier's model: stem and stage ends, here as rows of tokens."""
    peer = HieraModel(HieraConfig(embed_dim=8, depths=[1, 1, 2, 1], image_size=[96, 96])).eval()
    randomize(peer)
    arch = dict(SMALL, pos_embed=dict(size=(24, 24)))
    model = HieraDenseBackbone(HieraDenseConfig(arch)).eval()
    load_pretrained(model, peers.save_transformers(peer, tmp_path))
    images = torch.randn(1, 3, 96, 96)
    theirs = peer(images, output_hidden_states=True).reshaped_hidden_states
    output = model(images, output_hidden_states=True)
    assert len(output.hidden_states) == len(theirs) == 5
    for one, expected in zip(output.hidden_states, theirs, strict=True):
        assert relative_error(one, expected.flatten(1, 2)) < 1e-4
    assert model(images).hidden_states is None
    feature_maps, hidden_states = model(images, output_hidden_states=True, return_dict=False)
    assert torch.equal(feature_maps[0], output.feature_maps[0])
    assert len(hidden_states) == 5


@pytest.mark.parametrize(
    ("asked", "names", "indices"),
    [
        (dict(out_indices=[1, 3]), ["stage1", "stage3"], [1, 3]),
        (dict(out_indices=(-2, -1)), ["stage3", "stage4"], [-2, -1]),
        (dict(out_features=["stem", "stage2"]), ["stem", "stage2"], [0, 2]),
        ({}, ["stage4"], [-1]),
    ],
)
def test_the_stages_that_are_asked_for(
    asked: dict[str, Any], names: list[str], indices: list[int]
) -> None:
    model = AutoBackbone.from_config(HieraDenseConfig(SMALL, **asked)).eval()
    assert (model.out_features, model.out_indices) == (names, indices)
    maps = model(torch.randn(1, 3, 64, 96)).feature_maps
    assert [one.shape[1] for one in maps] == model.channels
    strides = {"stem": 4, "stage1": 4, "stage2": 8, "stage3": 16, "stage4": 32}
    assert [64 // one.shape[2] for one in maps] == [strides[name] for name in names]
    assert list(model.norms) == names


@torch.no_grad()
def test_what_is_saved_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = HieraDenseBackbone(config(window_spec=(8, 4, 0, 2), global_att_blocks=(3,)))
    randomize(model)
    model.eval().save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "hiera_dense"
    assert isinstance(AutoConfig.from_pretrained(tmp_path), HieraDenseConfig)
    images = torch.randn(1, 3, 64, 96)
    maps = model(images).feature_maps
    again = HieraDenseBackbone.from_pretrained(tmp_path)
    assert not again.training
    assert all(map(torch.equal, again(images).feature_maps, maps))
    # AutoBackbone asks the hub whether there is such a repository, even if it is a folder.
    factory = "transformers.models.auto.auto_factory"
    monkeypatch.setattr(f"{factory}.hf_api", lambda: Hub, raising=False)
    monkeypatch.setattr(f"{factory}.repo_exists", Hub.repo_exists, raising=False)
    some = AutoBackbone.from_pretrained(tmp_path, out_indices=[2, 4])
    assert type(some) is HieraDenseBackbone
    assert all(map(torch.equal, some(images).feature_maps, (maps[1], maps[3])))
    # The package's own loader reads the file too.
    trunk = Hiera(SMALL)
    load_pretrained(trunk, tmp_path)
    assert torch.equal(trunk.pos_embed, model.trunk.pos_embed)


class Hub:
    @staticmethod
    def repo_exists(*_: Any, **__: Any) -> bool:
        return True


def test_weights_that_a_file_lacks_are_initialised(tmp_path: Path) -> None:
    arch = dict(SMALL, layer_scale=0.1, rel_pos=(16, 16))
    model = HieraDenseBackbone(config(arch=arch))
    randomize(model)
    state = model.state_dict()
    lacking = ("trunk.pos_embed", "trunk.blocks.1.ls1.gamma", "trunk.blocks.3.attn.rel_pos_h")
    lacking += (
        "trunk.blocks.0.mlp.fc1.weight",
        "trunk.blocks.0.mlp.fc1.bias",
        "norms.stage1.weight",
    )
    model.save_pretrained(
        tmp_path, state_dict={name: t for name, t in state.items() if name not in lacking}
    )
    again = HieraDenseBackbone.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(again[name], state[name]) for name in state if name not in lacking)
    table, scale, relative, weight, bias, norm = (again[name] for name in lacking)
    assert table.std().item() == pytest.approx(0.02, rel=0.2)
    assert weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert (scale == 0.1).all()
    assert (relative == 0).all()
    assert (bias == 0.02).all()
    assert (norm == 1).all()


@torch.no_grad()
def test_a_new_model_is_initialised_as_a_trunk_is() -> None:
    new = UperNetForSemanticSegmentation(
        UperNetConfig(backbone_config=config(), hidden_size=16)
    ).backbone
    for (name, one), other in zip(
        new.trunk.named_parameters(), Hiera(SMALL).parameters(), strict=True
    ):
        assert one.mean().item() == pytest.approx(other.mean().item(), abs=0.01), name
        assert one.std().item() == pytest.approx(other.std().item(), abs=0.01), name
    assert all((norm.bias == 0).all() for norm in new.norms.values())


def boxes(count: int) -> list[dict[str, torch.Tensor]]:
    box = torch.tensor([[0.5, 0.5, 0.4, 0.3]])
    return [dict(class_labels=torch.tensor([1]), boxes=box) for _ in range(count)]


def detr() -> Any:
    return DetrForObjectDetection(
        DetrConfig(backbone_config=config(out_features=["stage4"]), **small_transformer())
    )


def rt_detr() -> Any:
    return RTDetrForObjectDetection(
        RTDetrConfig(
            backbone_config=config(out_features=STAGES[1:]),
            encoder_hidden_dim=32,
            encoder_in_channels=[16, 32, 64],
            decoder_in_channels=[32, 32, 32],
            num_denoising=4,
            **small_transformer(),
        )
    )


@pytest.mark.parametrize("build", [detr, rt_detr])
def test_a_detector_trains_a_step_and_detects(build: Any) -> None:
    model, images = build().train(), torch.randn(2, 3, 64, 96)
    trunk = next(m for m in model.modules() if isinstance(m, Hiera))
    model(pixel_values=images, labels=boxes(2)).loss.backward()
    assert_trained_by_a_step(model, trunk)
    with torch.no_grad():
        found = model.eval()(pixel_values=images)
    assert found.pred_boxes.shape == (2, 5, 4)
    assert found.logits.isfinite().all()


def upernet() -> Any:
    return UperNetForSemanticSegmentation(
        UperNetConfig(
            backbone_config=config(), hidden_size=16, num_labels=3, auxiliary_in_channels=32
        )
    )


def mask2former() -> Any:
    return Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(
            backbone_config=config(),
            feature_size=32,
            mask_feature_size=32,
            hidden_dim=32,
            encoder_feedforward_dim=32,
            encoder_layers=1,
            decoder_layers=2,
            num_attention_heads=2,
            dim_feedforward=32,
            num_queries=5,
            num_labels=3,
            train_num_points=64,
        )
    )


def maskformer() -> Any:
    return MaskFormerForInstanceSegmentation(
        MaskFormerConfig(
            fpn_feature_size=32,
            mask_feature_size=32,
            backbone_config=config(),
            decoder_config=DetrConfig(
                backbone_config=config(out_features=["stage4"]), **small_transformer()
            ),
            num_labels=3,
        )
    )


@pytest.mark.parametrize("build", [upernet, mask2former, maskformer])
def test_a_segmenter_trains_a_step_and_segments(build: Any) -> None:
    model, images = build().train(), torch.randn(2, 3, 64, 96)
    trunk = next(m for m in model.modules() if isinstance(m, Hiera))
    if build is upernet:
        targets: dict[str, Any] = dict(labels=torch.randint(0, 3, (2, 64, 96)))
    else:
        masks = torch.zeros(1, 64, 96)
        masks[:, 10:40, 10:60] = 1
        targets = dict(mask_labels=[masks] * 2, class_labels=[torch.tensor([1])] * 2)
    model(pixel_values=images, **targets).loss.backward()
    assert_trained_by_a_step(model, trunk)
    with torch.no_grad():
        found = model.eval()(pixel_values=images)
    if build is upernet:
        assert found.logits.shape == (2, 3, 64, 96)
    else:
        assert found.masks_queries_logits.shape[0] == 2
        assert found.masks_queries_logits.isfinite().all()


def assert_trained_by_a_step(model: torch.nn.Module, trunk: Hiera) -> None:
    grads = [param.grad for param in trunk.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)
    before = trunk.blocks[0].mlp.fc1.weight.clone()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not torch.equal(before, trunk.blocks[0].mlp.fc1.weight)


def test_activations_can_be_recomputed() -> None:
    model, images = HieraDenseBackbone(config()).train(), torch.randn(1, 3, 64, 64)
    sum(one.sum() for one in model(images).feature_maps).backward()
    kept = [param.grad.clone() for param in model.parameters()]
    model.zero_grad()
    model.gradient_checkpointing_enable()
    maps = model(images).feature_maps
    assert {block.recompute for block in model.trunk.blocks} == {"block"}
    sum(one.sum() for one in maps).backward()
    for one, expected in zip(kept, (param.grad for param in model.parameters()), strict=True):
        assert torch.allclose(one, expected, atol=1e-6)
    model.gradient_checkpointing_disable()
    model(images)
    assert {block.recompute for block in model.trunk.blocks} == {None}


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (dict(arch="tiy"), SetupError, "unknown arch 'tiy'; expected tiny"),
        (dict(arch="base_16x224"), SetupError, "arch 'base_16x224'; expected one of images"),
        (dict(out_features=["stage5"]), ValueError, "stage5"),
        (dict(window_spec=(8, 4)), SetupError, "expected one for each of the 4 stages"),
    ],
)
def test_what_does_not_fit_is_named(
    kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        config(**kwargs)
