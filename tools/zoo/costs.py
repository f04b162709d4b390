"""What a recipe costs: parameters, multiply-adds, and what a training step keeps for each image.

Nothing is trained and no image is read. Backbones and convolutional heads run on tensors that have
shapes and no values; transformer heads, whose steps depend on values, run on noise. Deformable
attention counts by its projections: its sampling has no products, and it keeps its inputs, as the
CUDA kernel does.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from mmcv.ops import multi_scale_deform_attn as deformable
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from tools.bench.contestants import sample_of

PROPOSALS, DETECTIONS = 1000, 100  # regions that box and mask heads see in evaluation
SAMPLES, POSITIVES = 512, 128  # and, at most, in a training step

Size = tuple[int, int]
Shapes = tuple[tuple[int, ...], ...]
Run = Callable[[], Any]


@dataclass(frozen=True)
class Cost:
    """What a recipe costs.

    Attributes:
        parameters: Of the whole model.
        multiply_adds: Of a forward pass in evaluation, for one image. None: not counted.
        activations: Bytes that the forward pass of a training step keeps for its backward pass,
            for one image; in bfloat16 where the recipe has mixed precision. Not in it: what losses
            keep, and denoising queries. None: not counted.
    """

    parameters: int
    multiply_adds: int | None
    activations: int | None


def cost_of(cfg: Config, size: Size) -> Cost:
    """The cost of a recipe.

    Args:
        cfg: Of a detector, a segmenter, a classifier or a masked autoencoder.
        size: Height and width of the image, in pixels.

    Raises:
        ValueError: A kind of model whose parts are not known here.
    """
    init_default_scope(cfg.default_scope)
    with torch.device("meta"):
        model = _build(cfg.model).eval()
        image = torch.zeros(1, 3, *size)
        parameters = sum(p.numel() for p in model.parameters())
        if "backbone" not in cfg.model:
            whole = hasattr(model.network, "head")  # an autoencoder hides parts, by their values
            products = _multiply_adds(lambda: model.network(image)) if whole else None
            return Cost(parameters, products, None)
        maps: list[Tensor] = []
        products = _multiply_adds(lambda: maps.extend(model.backbone(image)))
        heads = _convolutional(model)
        if heads:
            products += _multiply_adds(lambda: heads(maps, PROPOSALS, DETECTIONS))
    kept = _kept_by_fakes(cfg, size)
    if not heads:
        rest = Config(dict(model=dict(cfg.model, backbone=None))).pretty_text
        shapes = tuple(tuple(m.shape) for m in maps)
        more = _of_transformer(cfg.default_scope, rest, size, shapes)
        products, kept = products + more[0], kept + more[1]
    return Cost(parameters, products, kept)


def _build(cfg: ConfigDict) -> Any:
    return MODELS.build(copy.deepcopy(cfg))  # some models write into their config


def _convolutional(model: nn.Module) -> Callable[[Sequence[Tensor], int, int], object] | None:
    """What runs the parts behind a backbone, for so many regions in box and mask heads.

    None: they depend on values.
    """
    kind = type(model).__name__
    if kind == "EncoderDecoder" and type(model.decode_head).__name__ != "Mask2FormerHead":
        return lambda maps, *_: _segmentation_heads(model, maps)
    if kind in ("MaskRCNN", "CascadeRCNN"):
        return lambda maps, boxes, masks: _region_heads(model, maps, boxes, masks)
    if kind in ("EncoderDecoder", "DINO", "Mask2Former"):
        return None
    raise ValueError(f"the parts of a {kind} are not known")


def _segmentation_heads(model: Any, maps: Sequence[Tensor]) -> None:
    model.decode_head(maps)
    if model.training:
        model.auxiliary_head(maps)


def _region_heads(model: Any, maps: Sequence[Tensor], boxes: int, masks: int) -> None:
    levels = model.neck(maps)
    model.rpn_head(levels)
    channels = levels[0].shape[1]
    for heads, extractor, regions in (
        (model.roi_head.bbox_head, model.roi_head.bbox_roi_extractor, boxes),
        (model.roi_head.mask_head, model.roi_head.mask_roi_extractor, masks),
    ):
        several = isinstance(heads, nn.ModuleList)
        side = (extractor[0] if several else extractor).roi_layers[0].output_size
        for head in heads if several else [heads]:
            # With a gradient, so that what follows is kept.
            region = levels[0].mean() + levels[0].new_zeros(regions, channels, *side)
            head(region)


def _multiply_adds(run: Run) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2


def _kept_by_fakes(cfg: Config, size: Size) -> int:
    """Bytes that a training step keeps of the parts that need no values."""
    with torch.device("meta"):
        model = revert_sync_batchnorm(_build(cfg.model)).train()  # its sums need a GPU
    model.to_empty(device="cpu")  # plain parameters: the trunk treats no others as its own
    heads = _convolutional(model)
    half = cfg.optim_wrapper.type == "AmpOptimWrapper"
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        _keeping(model) as kept,
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        maps = model.backbone(torch.zeros(2, 3, *size))  # a norm over one value would refuse
        if heads:
            heads(maps, 2 * SAMPLES, 2 * POSITIVES)
        return sum(kept.values()) // 2


@lru_cache
def _of_transformer(scope: str, text: str, size: Size, shapes: Shapes) -> tuple[int, int]:
    """Multiply-adds, and bytes kept, of the parts of a detector or segmenter behind its backbone.

    Args:
        scope: Its host.
        text: Its config, without the backbone.
        size: Of the image, in pixels.
        shapes: Of the maps that the backbone gives.
    """
    cfg = Config.fromstring(text, ".py").model
    cfg.backbone = dict(type="hiera_dense.HieraBackbone", arch=_SMALLEST)
    model = _build(cfg).eval()
    maps = [torch.randn(shape, requires_grad=True) for shape in shapes]
    metainfo = dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size)
    sample = sample_of(scope)(metainfo=metainfo)

    def run() -> None:
        if hasattr(model, "forward_transformer"):
            inputs = model.forward_transformer(model.neck(maps), [sample])
            model.bbox_head(**inputs)
        else:
            head = model.panoptic_head if scope == "mmdet" else model.decode_head
            head(maps, [sample])

    with _no_sampling(), _keeping(model) as kept, FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2, sum(kept.values())


_SMALLEST = dict(embed_dim=8, num_heads=1, stages=(1, 1, 1, 1))


@contextmanager
def _keeping(model: nn.Module) -> Iterator[dict[int, int]]:
    """Collects the sizes of the memory that is kept for a backward pass, parameters not counted."""
    own = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def note(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory._cdata not in own:
            kept[memory._cdata] = memory.nbytes()
            alive.append(memory)  # or its place would be given to another
        return tensor.detach()  # the tensor itself would hold its own graph, forever

    with saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept


class _Kernel(torch.autograd.Function):
    """Deformable attention, without its values: it keeps its inputs."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        value, _, locations, _ = inputs
        ctx.save_for_backward(*inputs)
        shape = value.shape[0], locations.shape[1], math.prod(value.shape[2:])
        return value.new_zeros(shape)


@contextmanager
def _no_sampling() -> Iterator[None]:
    sampling = deformable.multi_scale_deformable_attn_pytorch
    deformable.multi_scale_deformable_attn_pytorch = _Kernel.apply
    try:
        yield
    finally:
        deformable.multi_scale_deformable_attn_pytorch = sampling
