"""DINO and Mask2Former as graphs: what the hosts predict, in PyTorch and in onnxruntime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttention,
    multi_scale_deformable_attn_pytorch,
)
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.structures import DetDataSample
from mmengine.config import Config
from support.spread import image
from torch import Tensor, nn
from torch.nn import functional as F

from hiera_dense import Predictor
from hiera_dense.deploy import attention, dino, mask2former
from hiera_dense.deploy.graph import Prepare, Size
from hiera_dense.errors import DataError
from hiera_dense.mm.trained import read_trained
from hiera_dense.predict.hosts import HostModel

Of = Callable[[str], Path]
KINDS = ("dino", "instances", "classes")  # of support/small_models.py
SIZES = ((96, 128), (256, 256), (353, 290))  # px


@pytest.fixture(scope="module")
def models(checkpoint: Of) -> dict[str, Any]:
    """A small model of each kind, with random weights."""
    return {kind: HostModel(read_trained(checkpoint(kind)), "cpu")._model for kind in KINDS}


def twin_of(kind: str, model: Any) -> nn.Module:
    return (dino if kind == "dino" else mask2former).twin(model, {})


def predicted(kind: str, model: Any, prepared: Tensor, size: Size) -> dict[str, Tensor]:
    """What the host's own `predict` gives."""
    shape = tuple(prepared.shape[2:])
    meta = dict(img_shape=size, ori_shape=size, pad_shape=shape, batch_input_shape=shape)
    if kind == "classes":
        maps = model.extract_feat(prepared)
        return {"logits": model.decode_head.predict(maps, [meta], model.test_cfg)}
    sample = DetDataSample(metainfo=meta)
    found = model.predict(prepared, [sample], rescale=False)[0].pred_instances
    return {"boxes": found.bboxes, "scores": found.scores, "labels": found.labels}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], pixels: float) -> None:
    """Compare predictions: boxes within `pixels`, scores and logits within 1e-4 of the largest."""
    if "logits" in expected:
        largest = expected["logits"].abs().max().item()
        torch.testing.assert_close(found["logits"], expected["logits"], rtol=0, atol=1e-4 * largest)
        assert found["logits"].argmax(1).unique().numel() > 1
        return
    scores = expected["scores"]
    assert len(found["scores"]) == len(scores)
    ours, theirs = (x["scores"].sort(descending=True).values for x in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * scores.max().item())
    # The last objects may be others, if their scores are nearly those of the next.
    certain = scores > scores.min() + 1e-4 * scores.max()
    apart = (expected["boxes"][:, None] - found["boxes"]).abs().amax(-1)
    apart = apart.masked_fill(expected["labels"][:, None] != found["labels"], float("inf"))
    near = (scores[:, None] - found["scores"]).abs() < 1e-4 * scores.max()
    apart = apart.masked_fill(~near, float("inf"))
    assert certain.sum() > len(scores) / 2
    assert apart.min(1).values[certain].max() < pixels


def test_multi_scale_sampling_is_that_of_mmcv() -> None:
    torch.manual_seed(0)
    grids = [(12, 17), (6, 9), (3, 5)]
    tokens = sum(height * width for height, width in grids)
    value = torch.randn(1, tokens, 8, 16)
    places = torch.rand(1, 50, 8, 3, 4, 2) * 1.4 - 0.2  # some outside
    weights = torch.rand(1, 50, 8, 3, 4)
    theirs = multi_scale_deformable_attn_pytorch(value, torch.tensor(grids), places, weights)
    ours = attention.multi_scale_sample(
        value, grids, [places[:, :, :, level] for level in range(3)], weights
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("coordinates", [2, 4])
def test_deformable_attention_is_that_of_mmcv(coordinates: int) -> None:
    torch.manual_seed(0)
    module = MultiScaleDeformableAttention(64, 4, 3, 4, batch_first=True).eval()
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    grids = [(12, 17), (6, 9), (3, 5)]
    tokens = torch.randn(1, sum(height * width for height, width in grids), 64)
    query, position = torch.randn(2, 1, 50, 64)
    references = torch.rand(1, 50, 3, coordinates)
    is_padding = torch.rand(1, tokens.shape[1]) > 0.7
    with torch.no_grad():
        theirs = module(
            query,
            value=tokens,
            query_pos=position,
            key_padding_mask=is_padding,
            reference_points=references,
            spatial_shapes=torch.tensor(grids),
        )
        ours = attention.attend_deformably(
            module, query, position, tokens, grids, references, is_padding
        )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def _discs() -> Tensor:
    """Logits of masks at stride 4: discs, and one that is empty."""
    ys, xs = torch.arange(24.0)[:, None], torch.arange(40.0)
    discs = [(5, 6, 4), (12, 30, 9), (20, 38, 6), (10, 10, 0), (2, 20, 1)]
    return torch.stack([r - ((ys - y) ** 2 + (xs - x) ** 2).sqrt() - 0.01 for y, x, r in discs])


def test_boxes_and_quality_of_masks_are_those_of_the_host() -> None:
    torch.manual_seed(0)
    masks, size = _discs(), (90, 143)
    test_cfg = Config(dict(max_per_image=10))
    fusion = MaskFormerFusionHead(3, 0, test_cfg=test_cfg)
    large = F.interpolate(masks[None], (96, 160), mode="bilinear", align_corners=False)[0]
    classes = torch.randn(5, 4)
    theirs = fusion.instance_postprocess(classes, large[:, : size[0], : size[1]])
    scores, best = classes.softmax(-1)[:, :-1].flatten().topk(10)
    boxes, quality = mask2former.boxes_and_quality(masks[best // 3], (96, 160), size)
    found = {"boxes": boxes, "scores": scores * quality, "labels": best % 3}
    expected = {"boxes": theirs.bboxes, "scores": theirs.scores, "labels": theirs.labels}
    assert len(expected["boxes"].unique(dim=0)) > 3
    assert_same(found, expected, pixels=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_twin_predicts_what_the_host_predicts(kind: str, models: dict[str, Any]) -> None:
    model = models[kind]
    twin, prepare = twin_of(kind, model), Prepare(model.data_preprocessor, 3)
    for size in SIZES:
        prepared = prepare(image(size))
        with torch.no_grad():
            expected = predicted(kind, model, prepared, size)
            assert_same(twin(prepared, size), expected, pixels=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_finds_what_pytorch_finds(kind: str, exported: Of, compared: Callable) -> None:
    onnx = pytest.importorskip("onnx")
    path = exported(kind)
    sums = compared(kind, path)
    assert sums.is_equal, str(sums)
    assert sums.mask > 0.99
    assert {node.domain for node in onnx.load(path).graph.node} == {""}  # standard operators only


@pytest.mark.slow
def test_a_wrong_graph_is_refused(
    exported: Of, compared: Callable, resizing_wrongly: Callable
) -> None:
    assert not compared("instances", resizing_wrongly(exported("instances"))).is_equal


@pytest.mark.slow
def test_an_image_of_fewer_cells_than_queries_is_named(exported: Of) -> None:
    predictor = Predictor(exported("dino"))
    for size, message in (
        (
            (9, 300),
            "image of 9 x 300 px, and of 5 x 160 px when resized; expected at least 96 x",
        ),
        ((10, 160), "image of 10 x 160 px; expected at least 96 x 96 px, or .* has 30 queries"),
    ):
        with pytest.raises(DataError, match=message):
            predictor(np.zeros((*size, 3), np.uint8))
    predictor(np.zeros((48, 160, 3), np.uint8))
