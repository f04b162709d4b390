"""DINO and Mask2Former as graphs: what the hosts predict, in PyTorch and in onnxruntime."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttention,
    multi_scale_deformable_attn_pytorch,
)
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.structures import DetDataSample
from mmengine.config import Config
from support.common import ROOT
from support.saved import random_model
from support.training import DELTA
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from hiera_dense.data.folders import VARIABLE
from hiera_dense.deploy import attention, dino, mask2former
from hiera_dense.deploy.graph import Prepare, Size
from hiera_dense.errors import SetupError

HEAD = (
    "in_channels=dims, num_queries=30, transformer_decoder=dict(num_layers=4), "
    "pixel_decoder=dict(encoder=dict(num_layers=1))"
)
KINDS = {
    "dino": (
        "dino/dino-4scale_hiera-t_1xb2-200i_coco-folder.py",
        "neck=dict(in_channels=dims[1:]), num_queries=60, test_cfg=dict(max_per_img=40), "
        "encoder=dict(num_layers=2), decoder=dict(num_layers=2)",
    ),
    "instances": (
        "mask2former/mask2former_hiera-t_1xb2-200i_coco-folder.py",
        f"panoptic_head=dict({HEAD}), test_cfg=dict(max_per_image=25)",
    ),
    "classes": (
        "mask2former/mask2former_hiera-t_1xb4-200i_mask-folder-256x256.py",
        f"decode_head=dict({HEAD})",
    ),
}
TRACED = (300, 410)  # px
SIZES = ((256, 256), (353, 290))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> dict[str, Any]:
    """A small model of each kind, with random weights."""
    folder = tmp_path_factory.mktemp("configs")
    built = {}
    for kind, (base, heads) in KINDS.items():
        path = folder / f"{kind}.py"
        path.write_text(DELTA.format(base=ROOT / "configs" / base, heads=heads))
        os.environ[VARIABLE] = str(toy / ("segments" if kind == "classes" else "instances"))
        try:
            cfg = Config.fromfile(path)
        finally:
            del os.environ[VARIABLE]
        built[kind] = random_model(cfg, 0.05).eval()
    for kind, part in (("instances", "panoptic_head"), ("classes", "decode_head")):
        _centre(built[kind], getattr(built[kind], part))
    return built


@torch.no_grad()
def _centre(model: Any, head: Any) -> None:
    """Keep queries apart, and spread their masks and classes around 0."""
    for layer in head.transformer_decoder.layers:
        for name, parameter in layer.named_parameters():
            if "out_proj" in name or "ffn" in name:
                parameter *= 0.2
    maps = model.extract_feat(image((256, 256)))
    decoder = head.pixel_decoder
    decoder.mask_feature.bias -= decoder(maps)[0].mean((0, 2, 3))
    embedded: list[Tensor] = []
    handle = head.mask_embed.register_forward_hook(lambda *args: embedded.append(args[2][0]))
    head(maps, [])
    handle.remove()
    _spread(head.mask_embed[-1], embedded[-1], 0.2)
    _spread(head.cls_embed, head(maps, [])[0][-1][0], 1.5)


def _spread(layer: nn.Linear, outputs: Tensor, deviation: float) -> None:
    """Give the outputs of a layer the mean 0 and a standard deviation, over queries."""
    scale = deviation / outputs.std(0).mean()
    layer.bias -= outputs.mean(0)
    layer.bias *= scale
    layer.weight *= scale


def image(size: Size) -> Tensor:
    """An image with coarse and fine structure, as the hosts read it."""
    generator = torch.Generator().manual_seed(size[0])
    coarse = torch.randn(1, 3, 18, 18, generator=generator)
    fine = torch.randn(1, 3, *size, generator=generator)
    return (F.interpolate(coarse, size, mode="bicubic") * 80 + fine * 20 + 120).clamp(0, 255)


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
    for size in (TRACED, *SIZES):
        prepared = prepare(image(size))
        with torch.no_grad():
            expected = predicted(kind, model, prepared, size)
            assert_same(twin(prepared, size), expected, pixels=1e-2)


class _Padded(nn.Module):
    """A twin with the preprocessing before it."""

    def __init__(self, prepare: Prepare, twin: nn.Module) -> None:
        super().__init__()
        self.prepare = prepare
        self.twin = twin

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return self.twin(self.prepare(image), (image.shape[2], image.shape[3]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_onnx_file_predicts_what_the_host_predicts_at_any_size(
    kind: str, models: dict[str, Any], tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = models[kind]
    prepare = Prepare(model.data_preprocessor, 3)
    network = _Padded(prepare, twin_of(kind, model)).eval()
    with torch.no_grad():
        names = list(network(image(SIZES[0])))
        program = torch.export.export(
            network,
            (image(TRACED),),
            dynamic_shapes={"image": {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}},
            strict=False,
        )
        onnx = torch.onnx.export(program, (), dynamo=True, opset_version=20, verbose=False)
    assert onnx is not None
    onnx.save(tmp_path / "model.onnx")
    assert {node.domain for node in onnx.model.graph} == {""}  # standard operators only
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for size in (TRACED, *SIZES, (417, 545)):
        values = session.run(None, {"image": image(size).numpy()})
        found = dict(zip(names, map(torch.from_numpy, values), strict=True))
        with torch.no_grad():
            expected = predicted(kind, model, prepare(image(size)), size)
        assert_same(found, expected, pixels=0.1)


def test_models_that_cannot_be_exported_are_refused(models: dict[str, Any]) -> None:
    model = models["classes"]
    mode = model.test_cfg["mode"]
    model.test_cfg["mode"] = "slide"
    try:
        with pytest.raises(SetupError, match="expected 'whole'"):
            mask2former.twin(model, {})
    finally:
        model.test_cfg["mode"] = mode
    fusion = models["instances"].panoptic_fusion_head
    fusion.test_cfg["instance_on"] = False
    try:
        with pytest.raises(SetupError, match="expected True"):
            mask2former.twin(models["instances"], {})
    finally:
        fusion.test_cfg["instance_on"] = True
