"""`mmcv._ext` without a compiler: the ops of mmcv that our recipes call, on torchvision's.

mmcv's own Python code looks its compiled ops up in a module of this name. An mmcv that was built
without them has no such module, and this file takes its place. Where mmcv was compiled, Python
finds the compiled module first, and this file is never read.

It has NMS, RoIAlign, multi-scale deformable attention and the sigmoid focal loss, on every device
that torchvision and PyTorch have kernels for. Any other op raises `NotImplementedError`, with its
name, when it is called. Arguments are those that mmcv passes; outputs are written in place where
mmcv expects it.
"""

from collections.abc import Callable

import torch
import torchvision
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """The indices of the boxes that are kept, int64, best score first.

    `boxes` has shape (N, 4), xyxy; `offset` is what mmcv adds to widths and heights, 0 or 1.
    """
    boxes = boxes.float()
    if offset:  # widths and heights are only ever differences
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    kept: Tensor = torchvision.ops.nms(boxes, scores.float(), iou_threshold)
    return kept


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills `output`, (K, C, aligned_height, aligned_width).

    `input` has shape (N, C, H, W); `rois` (K, 5): the index of an image, and x1, y1, x2, y2.
    """
    _averages(pool_mode)
    size = (aligned_height, aligned_width)
    output.copy_(
        torchvision.ops.roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned)
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills `grad_input`, (N, C, H, W)."""
    _averages(pool_mode)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output,
            rois,
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def _averages(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(
            f"RoIAlign with pool_mode='max'; expected 'avg', or {_compiled()}"
        )


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention by mmcv's own function for CPUs: (B, queries, channels)."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    attended: Tensor = multi_scale_deformable_attn_pytorch(
        value, spatial_shapes, sampling_locations, attention_weights
    )
    return attended


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Fills the three gradients, each of the shape of what it belongs to."""
    inputs = [x.detach().requires_grad_() for x in (value, sampling_locations, attention_weights)]
    with torch.enable_grad():
        output = ms_deform_attn_forward(
            inputs[0], spatial_shapes, level_start_index, inputs[1], inputs[2], im2col_step
        )
        grads = torch.autograd.grad(output, inputs, grad_output)
    for place, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads, strict=True):
        place.copy_(grad)


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fills `output`, (N, classes).

    `target`, (N,), has the class of each row, or the number of classes for background.
    """
    output.copy_(_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fills `grad_input`, (N, classes), with the gradient of the loss's sum."""
    logits = input.detach().requires_grad_()
    with torch.enable_grad():
        loss = _focal_loss(logits, target, weight, gamma, alpha).sum()
        grad_input.copy_(torch.autograd.grad(loss, logits)[0])


def _focal_loss(
    logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    if weight.numel():
        raise NotImplementedError(
            f"sigmoid_focal_loss with class weights; expected none, or {_compiled()}"
        )
    classes = torch.arange(logits.shape[1], device=logits.device)
    chosen = (target[:, None] == classes).to(logits)
    loss: Tensor = sigmoid_focal_loss(logits, chosen, alpha, gamma, reduction="none")
    return loss


def get_compiler_version() -> str:
    """What mmcv's report of the environment prints in place of a compiler."""
    return f"none: ops of torchvision {torchvision.__version__}"


def get_compiling_cuda_version() -> str:
    """The CUDA that torch was built for, whose torchvision has the kernels."""
    return torch.version.cuda or "not available"


def _compiled() -> str:
    return "an mmcv with compiled ops (docs/install.md of hiera_dense)"


def __getattr__(name: str) -> Callable[..., None]:
    """Any other op: mmcv looks its name up when it is imported; a config may never call it."""
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*_: object, **__: object) -> None:
        raise NotImplementedError(
            f"mmcv's op {name!r} is not among those of torchvision; expected {_compiled()}"
        )

    return missing
