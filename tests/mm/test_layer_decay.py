"""Layer-wise learning-rate decay, with backbones of ours and of others, in models of both hosts."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from support.common import ROOT, shallow
from torch import nn

from hiera_dense.mm.backbone import HieraBackbone

RATE = 0.5
LR, DECAY = 1e-3, 0.05
CONSTRUCTOR = "hiera_dense.LayerDecayOptimWrapperConstructor"


def groups_of(model: nn.Module, **paramwise: object) -> list[dict]:
    optimizer = dict(type="AdamW", lr=LR, weight_decay=DECAY)
    cfg = dict(
        type="OptimWrapper", optimizer=optimizer, constructor=CONSTRUCTOR, paramwise_cfg=paramwise
    )
    return build_optim_wrapper(model, cfg).optimizer.param_groups


def settings_of(model: nn.Module, **paramwise: object) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of every parameter, which all are in one group each."""
    names = {param: name for name, param in model.named_parameters()}
    found: dict[str, tuple[float, float]] = {}
    for group in groups_of(model, **paramwise):
        for param in group["params"]:
            assert names[param] not in found
            found[names[param]] = (group["lr"], group["weight_decay"])
    return found


class Detector(nn.Module):
    def __init__(self, **kwargs: object) -> None:
        super().__init__()
        self.backbone = HieraBackbone(shallow("sam2_tiny"), **kwargs)  # 8 blocks
        self.head = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))


def test_the_rate_falls_by_one_step_a_block() -> None:
    settings = settings_of(Detector(), layer_decay_rate=RATE)
    assert settings.keys() == dict(Detector().named_parameters()).keys()
    expected = {
        "head.0.weight": 0,
        "backbone.norm0.weight": 0,
        "backbone.norm3.bias": 0,
        "backbone.trunk.blocks.7.mlp.fc1.weight": 1,
        "backbone.trunk.blocks.3.attn.qkv.bias": 5,
        "backbone.trunk.blocks.0.norm1.weight": 8,
        "backbone.trunk.patch_embed.proj.weight": 9,
        "backbone.trunk.pos_embed": 9,
        "backbone.trunk.pos_embed_window": 9,
    }
    for name, steps in expected.items():
        assert settings[name][0] == pytest.approx(LR * RATE**steps), name


def test_rates_grow_with_depth() -> None:
    model = Detector()
    settings = settings_of(model, layer_decay_rate=0.9)
    depths = {name: model.backbone.get_layer_depth(name, "backbone.") for name in settings}
    assert {depths for _, depths in depths.values()} == {10}
    by_depth = sorted((depth, settings[name][0]) for name, (depth, _) in depths.items())
    assert [rate for _, rate in by_depth] == sorted(rate for _, rate in by_depth)
    assert {depth for depth, _ in by_depth} == set(range(10))


def test_only_matrices_and_kernels_decay() -> None:
    settings = settings_of(Detector(), layer_decay_rate=RATE)
    free = {name for name, (_, decay) in settings.items() if decay == 0}
    assert {decay for _, decay in settings.values()} == {0, DECAY}
    for name in settings:
        is_table = "pos_embed" in name
        is_norm = "norm" in name or name.startswith("head.1.")
        assert (name in free) == (is_table or is_norm or name.endswith("bias")), name


def test_without_decay_of_rates_all_are_equal() -> None:
    assert {lr for lr, _ in settings_of(Detector(), layer_decay_rate=1).values()} == {LR}


def test_what_is_frozen_is_left_out() -> None:
    model = Detector(frozen_stages=2)
    trained = {name for name, param in model.named_parameters() if param.requires_grad}
    assert settings_of(model, layer_decay_rate=RATE).keys() == trained


def test_a_backbone_alone_knows_its_own_depths() -> None:
    backbone = HieraBackbone(shallow("tiny"))
    assert backbone.get_layer_depth("trunk.blocks.2.norm1.weight") == (3, 10)
    assert backbone.get_layer_depth("neck.convs.0.weight", "backbone.") == (9, 10)
    assert settings_of(backbone, layer_decay_rate=RATE)["norm1.weight"][0] == LR


def test_any_backbone_with_mmpretrains_method_will_do() -> None:
    class Foreign(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(2, 2), nn.Linear(2, 2)
            self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))

        def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
            return (2 if param_name.startswith(f"{prefix}last") else 0), 3

    settings = settings_of(nn.ModuleDict({"body": Foreign()}), layer_decay_rate=RATE)
    assert settings["body.first.weight"] == (LR * RATE**2, DECAY)
    assert settings["body.last.weight"] == (LR, DECAY)
    assert settings["body.relative_position_bias_table"][1] == 0


@pytest.mark.parametrize("paramwise", [{}, {"decay_rate": 0.9}, {"layer_decay_rate": 1.5}])
def test_a_bad_setting_is_named(paramwise: dict) -> None:
    with pytest.raises(ValueError, match=r"expected dict\(layer_decay_rate="):
        groups_of(Detector(), **paramwise)


def test_a_model_without_depths_is_named() -> None:
    with pytest.raises(ValueError, match="no module of Linear has get_layer_depth"):
        groups_of(nn.Linear(2, 2), layer_decay_rate=RATE)


@pytest.mark.parametrize("host", ["mmdet", "mmseg"])
def test_both_hosts_build_it(host: str) -> None:
    leaf = {
        "mmdet": "mask_rcnn/mask-rcnn_hiera-t_fpn_8xb8-amp-lsj-100e_coco.py",
        "mmseg": "upernet/upernet_hiera-t_8xb2-amp-160k_ade20k-512x512.py",
    }[host]
    cfg = Config.fromfile(ROOT / "configs" / leaf)
    init_default_scope(host)
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    settings = settings_of(model, layer_decay_rate=0.65)
    assert settings.keys() == dict(model.named_parameters()).keys()
    assert settings["backbone.trunk.patch_embed.proj.weight"][0] == pytest.approx(LR * 0.65**13)
