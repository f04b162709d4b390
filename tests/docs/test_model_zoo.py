"""The tables of recipes are those of the configs; what costs are counted is right."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from support.common import ROOT

from hiera_dense.model.windows import Size
from tools.zoo import costs, leaves, model_zoo

# Hiera paper, table 10: parameters, and FLOPs with 1000 proposals at 1024 x 1024 px.
PUBLISHED = {"b": (73e6, "0.6"), "bplus": (92e6, "0.6"), "l": (236e6, "1.2")}
RECORDED = model_zoo.recorded()


def config(name: str) -> Config:
    return Config.fromfile(next((ROOT / "configs").glob(f"*/{name}.py")))


def test_the_configs_are_as_the_table_says() -> None:
    for path, text in leaves.files().items():
        assert (ROOT / path).read_text() == text, f"{path}: run python -m tools.zoo.leaves"
    assert not leaves.stale()


def test_the_tables_are_as_the_configs_say() -> None:
    for path, text in model_zoo.pages(RECORDED).items():
        assert (ROOT / path).read_text() == text, f"{path}: run python -m tools.zoo.model_zoo"


@pytest.mark.parametrize("size", PUBLISHED)
def test_parameters_and_flops_are_the_published_ones(size: str) -> None:
    """With one global block and windows that follow the image; the paper does not tell its plan."""
    cfg = config(f"mask-rcnn_hiera-{size}_fpn_8xb8-amp-lsj-100e_coco")
    cfg.model.backbone.global_att_blocks = cfg.model.backbone.global_att_blocks[-1:]
    parameters, flops = PUBLISHED[size]
    products = costs.cost_of(cfg, (1024, 1024)).multiply_adds
    assert f"{products / 1e12:.1f}" == flops
    assert RECORDED[Path(cfg.filename).stem].parameters == pytest.approx(parameters, rel=0.01)
    text = (ROOT / "configs/mask_rcnn/README.md").read_text()
    row = re.search(rf"^\| Hiera-{size[0].upper()}{'.' if size == 'bplus' else ''} .*$", text, re.M)
    assert row
    assert f"| {products / 1e12:.3f}T |" in row[0]


@pytest.mark.parametrize(
    "name",
    [
        "mask-rcnn_hiera-t_fpn_8xb8-amp-lsj-100e_coco",
        "upernet_hiera-t_8xb2-amp-160k_ade20k-512x512",
        "mask2former_hiera-t_8xb2-160k_ade20k-512x512",
        "classifier_hiera-b_8xb128-amp-100e_in1k-224x224",
    ],
)
def test_costs_are_as_recorded(name: str) -> None:
    size = model_zoo.DATA[name.split("_")[-1]][1]
    found, recorded = costs.cost_of(config(name), size), RECORDED[name]
    assert (found.parameters, found.multiply_adds) == (recorded.parameters, recorded.multiply_adds)
    # What autograd keeps may differ a little from one version of PyTorch to another.
    assert (found.activations or 0) == pytest.approx(recorded.activations or 0, rel=0.02)


def test_what_is_counted_on_fake_tensors_is_what_real_ones_keep() -> None:
    cfg = config("mask-rcnn_hiera-t_fpn_8xb8-amp-lsj-100e_coco")
    init_default_scope("mmdet")
    cfg.model.backbone.init_cfg = None
    size: Size = (64, 96)
    found = costs.cost_of(cfg, size).activations
    model = MODELS.build(cfg.model).train()
    kept: dict[int, torch.UntypedStorage] = {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            kept[place] = tensor.untyped_storage()
        return tensor.detach()

    def run(images: torch.Tensor, regions: Sequence[int]) -> None:
        levels = model.neck(model.backbone(images))
        model.rpn_head(levels)
        for head, side, count in zip(
            (model.roi_head.bbox_head, model.roi_head.mask_head), (7, 14), regions, strict=True
        ):
            head(levels[0].mean() + torch.zeros(count, 256, side, side))

    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        run(torch.randn(2, 3, *size), (1024, 256))
    assert found == pytest.approx(sum(s.nbytes() for s in kept.values()) / 2, rel=0.005)
