"""Hiera under the detectors of torchvision."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.common import relative_error, small_network
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from hiera_dense import CheckpointError, Hiera, HieraBackbone
from hiera_dense.errors import SetupError
from hiera_dense.torchvision import HieraFPN, hiera_fpn_backbone

SMALL = small_network(stages=(1, 1, 1, 1))
SIZES = [(100, 77), (64, 90)]


def backbone(one_stage: bool = False) -> HieraFPN:
    if one_stage:
        extra = LastLevelP6P7(32, 32)
        layers = (2, 3, 4)
        return hiera_fpn_backbone(
            SMALL, returned_layers=layers, extra_blocks=extra, out_channels=32
        )
    return hiera_fpn_backbone(SMALL, out_channels=32)


def objects(image: torch.Tensor) -> dict[str, torch.Tensor]:
    masks = torch.zeros(1, *image.shape[1:], dtype=torch.uint8)
    masks[:, 5:50, 5:60] = 1
    boxes = torch.tensor([[5.0, 5.0, 60.0, 50.0]])
    return dict(boxes=boxes, labels=torch.tensor([1]), masks=masks)


@pytest.mark.parametrize("kind", [MaskRCNN, FasterRCNN, RetinaNet, FCOS])
def test_a_detector_trains_a_step_and_detects(kind: Any) -> None:
    one_stage = kind in (RetinaNet, FCOS)
    model = kind(backbone(one_stage), num_classes=3, min_size=64, max_size=128)
    seen: list[tuple[int, ...]] = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    images = [torch.rand(3, *size) for size in SIZES]
    losses = model(images, [objects(image) for image in images])
    loss = sum(losses.values())
    loss.backward()
    parameters = dict(model.named_parameters())
    trunk = {name: p for name, p in parameters.items() if name.startswith("backbone.trunk.")}
    assert trunk
    assert all(param.grad is not None and param.grad.isfinite().all() for param in trunk.values())
    # torchvision pads a batch to multiples of 32.
    assert all(side % 32 == 0 for side in seen[0][2:])
    before = parameters["backbone.trunk.blocks.0.mlp.fc1.weight"].clone()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not torch.equal(before, parameters["backbone.trunk.blocks.0.mlp.fc1.weight"])
    with torch.no_grad():
        found = model.eval()(images)
    assert [set(one) >= {"boxes", "scores", "labels"} for one in found] == [True, True]
    if kind is MaskRCNN:
        assert [one["masks"].shape[2:] for one in found] == SIZES


@torch.no_grad()
def test_the_pyramid_is_torchvisions_on_the_maps_of_the_backbone() -> None:
    ours = backbone().eval()
    maps = HieraBackbone(SMALL).eval()
    maps.trunk.load_state_dict(ours.trunk.state_dict())
    for i, norm in enumerate(ours.norms):
        norm.weight.normal_()
        maps.get_submodule(f"norm{i}").load_state_dict(norm.state_dict())
    images = torch.randn(1, 3, 100, 77)  # no multiple of 32
    levels = ours(images)
    expected = ours.fpn({str(i): one for i, one in enumerate(maps(images))})
    assert list(levels) == list(expected) == ["0", "1", "2", "3", "pool"]
    for name, level in levels.items():
        assert relative_error(level, expected[name]) < 1e-6
    assert [tuple(level.shape[2:]) for level in levels.values()][:2] == [(25, 20), (13, 10)]


def test_names_of_levels_and_arguments_are_those_of_the_resnet() -> None:
    images = torch.randn(1, 3, 64, 64)
    for kwargs in ({}, dict(returned_layers=[2, 4])):
        theirs = resnet_fpn_backbone(backbone_name="resnet18", weights=None, **kwargs).eval()
        ours = hiera_fpn_backbone(SMALL, **kwargs).eval()
        assert ours.out_channels == theirs.out_channels
        with torch.no_grad():
            one, other = ours(images), theirs(images)
        assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in other.items()}


@pytest.mark.parametrize("layers", range(6))
def test_as_many_layers_are_trained_as_were_asked_for(layers: int) -> None:
    model = hiera_fpn_backbone(SMALL, trainable_layers=layers, drop_path_rate=0.5).train()
    parts: list[nn.Module] = [model.trunk.patch_embed, *model.trunk.blocks]
    trained = [all(p.requires_grad for p in part.parameters()) for part in parts]
    assert trained == [i >= 5 - layers for i in range(5)]
    assert [part.training for part in parts] == trained
    assert model.trunk.pos_embed.requires_grad == (layers == 5)


def test_weights_fill_the_trunk(tmp_path: Path) -> None:
    trunk = Hiera(SMALL)
    trunk.save_pretrained(tmp_path)
    model = hiera_fpn_backbone(SMALL, weights=tmp_path, in_channels=1)
    loaded = model.trunk.state_dict()
    assert torch.equal(loaded["blocks.2.attn.qkv.weight"], trunk.blocks[2].attn.qkv.weight)
    assert loaded["patch_embed.proj.weight"].shape[1] == 1
    with pytest.raises(CheckpointError, match="not the weights of this trunk"):
        hiera_fpn_backbone(small_network(16), weights=tmp_path)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(returned_layers=[0, 1]), r"returned_layers \[0, 1\]; expected"),
        (dict(returned_layers=[4, 5]), r"returned_layers \(4, 5\); expected some of 1 to 4"),
        (dict(returned_layers=[3, 2]), r"returned_layers \(3, 2\); expected some of 1 to 4, in"),
        (dict(trainable_layers=6), "trainable_layers 6; expected 0 to 5"),
        (dict(out_channels=0), "out_channels 0; expected an int, 1 or more"),
        (dict(arch="base_16x224"), "arch 'base_16x224'; expected one of images, with 4 stages"),
        (dict(window_spec=(8, 4)), r"expected one for each of the 4 stages"),
    ],
)
def test_what_does_not_fit_is_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(SetupError, match=message):
        hiera_fpn_backbone(**{"arch": SMALL, **kwargs})
