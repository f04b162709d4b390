"""Our architectures in timm, by timm's own contract and beside timm's own Hiera."""

import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from support import peers
from support.common import relative_error
from timm.data import resolve_model_data_config
from timm.optim import create_optimizer_v2
from torch import nn

import hiera_dense.timm as ours
from hiera_dense import Classifier, HieraBackbone
from hiera_dense.errors import CheckpointError, SetupError
from hiera_dense.model.variants import ARCHS
from hiera_dense.weights.catalog import WEIGHTS

TINY = "hiera_dense_tiny"
CHANNELS, STRIDES = [96, 192, 384, 768], [4, 8, 16, 32]


@pytest.fixture(scope="module")
def peer() -> nn.Module:
    return peers.of_timm("hiera_tiny_224")


@pytest.fixture(scope="module")
def file(peer: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of timm's Hiera, as on the hub."""
    return peers.save_bare(peer, tmp_path_factory.mktemp("timm"))


def of_file(file: Path, **kwargs: Any) -> nn.Module:
    overlay = dict(file=str(file))
    return timm.create_model(TINY, True, pretrained_cfg_overlay=overlay, **kwargs).eval()


def test_every_image_arch_has_a_name_and_its_weights() -> None:
    clips = {name for name in ARCHS if name.endswith("16x224")}
    names = {f"hiera_dense_{arch}" for arch in set(ARCHS) - clips}
    assert len(names) == 11
    assert set(timm.list_models("hiera_dense_*")) == names
    tagged = timm.list_models("hiera_dense_*", pretrained=True)
    cfgs = [timm.get_pretrained_cfg(name) for name in tagged]
    of_images = [weight for weight in WEIGHTS.values() if weight.arch not in clips]
    assert sorted(cfg.hf_hub_id for cfg in cfgs) == sorted(str(w.hub) for w in of_images)
    for cfg in cfgs:
        (weight,) = [w for w in of_images if w.hub == cfg.hf_hub_id]
        assert cfg.architecture == f"hiera_dense_{weight.arch}"
        assert cfg.hf_hub_filename == weight.file
        assert cfg.num_classes == (weight.classes or 0)
        same = [n.removeprefix("timm/") for n in (str(weight.hub), *weight.also) if "timm/" in n]
        their = timm.get_pretrained_cfg(same[0])
        for field in ("license", "input_size", "crop_pct", "interpolation", "mean", "std"):
            assert getattr(cfg, field) == getattr(their, field), (cfg, field)


@pytest.mark.parametrize("arch", ours.IMAGE_ARCHS)
def test_features_are_at_four_strides(arch: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(f"hiera_dense_{arch}", features_only=True)
        maps = model(torch.empty(1, 3, 96, 160))
    info, dims = model.feature_info, ARCHS[arch].dims
    assert info.channels() == list(dims)
    assert info.reduction() == STRIDES
    assert info.module_name() == [f"blocks.{end}" for end in ARCHS[arch].stage_ends]
    sizes = [(1, dim, 96 // s, 160 // s) for dim, s in zip(dims, STRIDES, strict=True)]
    assert [tuple(one.shape) for one in maps] == sizes
    modules = dict(model.model.named_modules())
    assert all(name in modules for name in info.module_name())


@torch.no_grad()
def test_maps_and_scores_equal_those_of_timm(peer: nn.Module, file: Path) -> None:
    images = torch.randn(2, 3, 224, 224)
    theirs = peer.forward_intermediates(images, intermediates_only=True)
    for one, expected in zip(of_file(file, features_only=True)(images), theirs, strict=True):
        assert relative_error(one, expected) < 1e-4
    model = of_file(file)
    assert relative_error(model(images), peer(images)) < 1e-4
    features = model.forward_features(images)
    assert features.shape == (2, 7, 7, 768)
    logits = model.forward_head(features, pre_logits=True)
    assert relative_error(logits, peer.forward_head(peer.forward_features(images), True)) < 1e-4


@pytest.mark.parametrize("size", [(64, 96), (100, 77)])
@torch.no_grad()
def test_maps_equal_those_of_the_backbone_at_other_sizes(
    size: tuple[int, int], peer: nn.Module, file: Path
) -> None:
    images = torch.randn(1, 3, *size)
    backbone = HieraBackbone("tiny", out_norm=False).eval()
    backbone.trunk.load_state_dict(of_file(file, num_classes=0).state_dict(), strict=False)
    for one, expected in zip(
        of_file(file, features_only=True)(images), backbone(images), strict=True
    ):
        assert torch.equal(one, expected)


def test_intermediates_follow_the_contract_of_timm(file: Path) -> None:
    model, images = of_file(file), torch.randn(1, 3, 64, 64)
    last, maps = model.forward_intermediates(images)
    assert torch.equal(last, model.forward_features(images))
    assert torch.equal(maps[-1].movedim(1, -1), last)
    assert [one.shape[1] for one in maps] == CHANNELS
    (only,) = model.forward_intermediates(images, 1, output_fmt="NHWC", intermediates_only=True)
    assert torch.equal(only, last)
    # As timm's, it stops at the last stage that was asked for.
    early, (first,) = model.forward_intermediates(images, [0])
    assert torch.equal(early.movedim(-1, 1), first)
    late, _ = model.forward_intermediates(images, [0], stop_early=False)
    assert torch.equal(late, last)
    assert torch.equal(model(images), model.forward_head(last))


@pytest.mark.parametrize("indices", [(0, 2), (-3, -1), 2])
def test_only_stages_that_are_asked_for_are_kept(indices: Any, file: Path) -> None:
    model, images = (
        of_file(file, features_only=True, out_indices=indices),
        torch.randn(1, 3, 64, 64),
    )
    every = of_file(file, features_only=True)(images)
    taken = range(4)[-indices:] if isinstance(indices, int) else [range(4)[i] for i in indices]
    assert model.feature_info.channels() == [CHANNELS[i] for i in taken]
    assert model.feature_info.reduction() == [STRIDES[i] for i in taken]
    for one, expected in zip(model(images), [every[i] for i in taken], strict=True):
        assert torch.equal(one, expected)
    # Nothing is left without a gradient.
    model.train()
    sum(one.sum() for one in model(images)).backward()
    assert all(param.grad is not None for param in model.parameters())
    ends = ARCHS["tiny"].stage_ends
    assert len(model.model.blocks) == ends[max(taken)] + 1
    assert model.model(images).shape == (1, CHANNELS[max(taken)])  # the trunk alone still runs


def test_the_classifier_can_be_changed() -> None:
    model, images = timm.create_model(TINY, num_classes=0, in_chans=5), torch.randn(1, 5, 64, 64)
    assert model(images).shape == (1, 768)
    assert not [name for name in model.state_dict() if name.startswith("head.")]
    model.reset_classifier(3)
    assert model(images).shape == (1, model.num_classes)
    assert model.get_classifier().out_features == 3
    assert model.default_cfg["classifier"] == "head.projection"
    model.reset_classifier(0, "")
    assert model(images).shape == (1, 4, 768)


def test_settings_of_timm_reach_the_network() -> None:
    model = timm.create_model(TINY, img_size=320, drop_rate=0.3, drop_path_rate=0.2)
    assert resolve_model_data_config(model)["input_size"] == (3, 320, 320)
    assert model.head.dropout.p == 0.3
    model.set_grad_checkpointing()
    assert {block.recompute for block in model.blocks} == {"block"}
    optimizer = create_optimizer_v2(model, "adamw", lr=1.0, weight_decay=0.1, layer_decay=0.5)
    scales = {
        id(param): group["lr_scale"]
        for group in optimizer.param_groups
        for param in group["params"]
    }
    assert scales[id(model.head.projection.weight)] == 1
    assert scales[id(model.pos_embed)] == 0.5 ** (len(model.blocks) + 1)
    assert all(
        group["weight_decay"] == 0
        for group in optimizer.param_groups
        if any(param is model.pos_embed for param in group["params"])
    )


@pytest.mark.parametrize(
    ("name", "asked", "licence"),
    [
        (TINY, "facebook/hiera_tiny_224.mae_in1k_ft_in1k", "CC BY-NC 4.0"),
        (f"{TINY}.mae_in1k", "facebook/hiera_tiny_224.mae_in1k", "CC BY-NC 4.0"),
        ("hiera_dense_sam2_tiny", "facebook/sam2.1-hiera-tiny", "Apache-2.0"),
        ("hiera_dense_sam2_tiny.sam2", "facebook/sam2-hiera-tiny", "Apache-2.0"),
    ],
)
def test_pretrained_weights_are_those_of_the_catalogue(
    name: str,
    asked: str,
    licence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Up to the network: what would have been downloaded lies in a file."""
    if "sam2" in name:
        source: Any = peers.of_timm("sam2_hiera_tiny", num_classes=0)
        file = peers.save_sam2(source, tmp_path)
    else:
        source = peers.fair(peers.IMAGES["tiny"])
        file = peers.save_bare(source, tmp_path)
    downloads: list[tuple[Any, ...]] = []

    def download(repository: str, name: str, **options: Any) -> str:
        downloads.append((repository, name, options))
        return str(file)

    monkeypatch.setattr("hiera_dense.weights.download.hf_hub_download", download)
    with caplog.at_level(logging.WARNING, "hiera_dense"):
        model = timm.create_model(name, pretrained=True, cache_dir=str(tmp_path))
    assert [(repo, options) for repo, _, options in downloads] == [
        (asked, dict(cache_dir=str(tmp_path)))
    ]
    assert f"licence of these weights: {licence}" in caplog.text
    assert torch.equal(model.blocks[3].mlp.fc1.weight, source.blocks[3].mlp.fc1.weight)
    if "sam2" not in name:
        assert torch.equal(model.norm.weight, source.norm.weight)


def test_weights_for_three_channels_go_into_one(peer: nn.Module, file: Path) -> None:
    model = of_file(file, features_only=True, in_chans=1)
    summed = peer.patch_embed.proj.weight.sum(1, keepdim=True)
    assert relative_error(model.model.patch_embed.proj.weight, summed) < 1e-6


def test_what_timm_saves_it_builds_again(tmp_path: Path) -> None:
    model = timm.create_model(TINY, num_classes=7).eval()
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(model(images), again(images))
    # And our own classes know it.
    other = Classifier.from_pretrained(tmp_path / "model.safetensors", arch="tiny", num_classes=7)
    assert torch.equal(model(images), other(images))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (dict(output_stride=16), SetupError, r"output_stride 16; expected 32"),
        (dict(global_pool="max"), SetupError, r"global_pool 'max'; expected 'avg' or ''"),
        (dict(num_classes=-1), SetupError, "num_classes -1; expected"),
        (dict(img_size=(0, 5)), SetupError, r"img_size \(0, 5\)"),
        (dict(features_only=True, out_indices=(4,)), SetupError, "expected some of 0 to 3"),
        (
            dict(pretrained=True, pretrained_cfg=dict(num_classes=5)),
            SetupError,
            "names no weights; expected file, hf_hub_id or url",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        timm.create_model(TINY, **kwargs)


def test_weights_of_another_arch_are_refused(file: Path) -> None:
    with pytest.raises(CheckpointError, match="these weights fit arch 'tiny'"):
        timm.create_model("hiera_dense_small", True, pretrained_cfg_overlay=dict(file=str(file)))
