"""A contestant: layer norm as a kernel of Triton, where PyTorch computes it eagerly on a GPU.

PyTorch's own kernel gives each token a block of threads, of which most are idle at the 96 to 384
channels of Hiera's early stages. This one takes several tokens at once, reads and writes each value
once, and under autocast gives the dtype that the next layer would cast to. Compiled graphs have
kernels of their own. It moves into the trunk if it brings a tenth of the whole or more on a GPU:
not yet run (docs/performance.md).
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiera_dense.model.graphs import is_observed

try:
    import triton
    import triton.language as tl
except ImportError:  # torch for CPUs comes without it
    triton = None


class LayerNorm(nn.LayerNorm):
    """PyTorch's layer norm, by the kernel where it can be used.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """From (..., C) to (..., C)."""
        if not suits(x, self.weight, self.bias):
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
        return layer_norm(x, self.weight, self.bias, self.eps, dtype)


_WIDEST = 2048  # channels
_TILE = 4096  # values that a program holds at once
_PROGRAMS = 8  # of the backward pass, for each multiprocessor
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def suits(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
    """Whether `layer_norm` can take the place of PyTorch's for these arguments."""
    return (
        x.is_cuda
        and triton is not None
        and not is_observed()
        and weight is not None
        and bias is not None
        and x.dtype in _DTYPES
        and x.shape[-1] <= _WIDEST
        and x.numel() > 0
    )


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """Normalise over the last axis.

    Args:
        x: Shape (..., C), on a GPU.
        weight, bias: Shape (C,).
        eps: Added to the variance.
        dtype: Of the result. Sums are in float32 in any case.

    Returns:
        The shape of x.
    """
    return cast(Tensor, _LayerNorm.apply(x, weight, bias, eps, dtype))


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
    ) -> Tensor:
        x = x.contiguous()
        channels = x.shape[-1]
        rows = x.numel() // channels
        y = torch.empty(x.shape, dtype=dtype, device=x.device)
        moments = torch.empty(2, rows, dtype=torch.float32, device=x.device)
        at_once, width = _tile(channels)
        with torch.cuda.device(x.device):
            _forward[(triton.cdiv(rows, at_once),)](
                x, weight, bias, y, moments, rows, eps, channels, at_once, width, num_warps=4
            )
        ctx.save_for_backward(x, weight, moments)
        ctx.eps = eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, moments = ctx.saved_tensors
        dy = dy.contiguous()
        channels = x.shape[-1]
        rows = x.numel() // channels
        at_once, width = _tile(channels)
        programs = min(
            triton.cdiv(rows, at_once),
            _PROGRAMS * torch.cuda.get_device_properties(x.device).multi_processor_count,
        )
        dx = torch.empty_like(x)
        sums = torch.empty(programs, 2, channels, dtype=torch.float32, device=x.device)
        with torch.cuda.device(x.device):
            _backward[(programs,)](
                x, weight, dy, dx, sums, moments, rows, channels, at_once, width, num_warps=4
            )
        of_weight, of_bias = sums.sum(0).to(weight.dtype)
        return dx, of_weight, of_bias, None, None


def _tile(channels: int) -> tuple[int, int]:
    """Rows and channels, padded to a power of 2, that a program holds at once."""
    width = triton.next_power_of_2(channels)
    return max(1, _TILE // width), width


if triton is not None:

    @triton.jit
    def _forward(
        x,
        weight,
        bias,
        y,
        moments,
        rows,
        eps,
        channels: tl.constexpr,
        AT_ONCE: tl.constexpr,
        WIDTH: tl.constexpr,
    ):
        row = tl.program_id(0) * AT_ONCE + tl.arange(0, AT_ONCE)
        channel = tl.arange(0, WIDTH)
        real = (row < rows)[:, None] & (channel < channels)[None, :]
        place = row.to(tl.int64)[:, None] * channels + channel[None, :]
        value = tl.load(x + place, mask=real, other=0.0).to(tl.float32)
        mean = tl.sum(value, 1) / channels
        centred = tl.where(real, value - mean[:, None], 0.0)
        inverse = tl.rsqrt(tl.sum(centred * centred, 1) / channels + eps)
        scale = tl.load(weight + channel, mask=channel < channels, other=0.0).to(tl.float32)
        shift = tl.load(bias + channel, mask=channel < channels, other=0.0).to(tl.float32)
        result = centred * inverse[:, None] * scale[None, :] + shift[None, :]
        tl.store(y + place, result.to(y.dtype.element_ty), mask=real)
        tl.store(moments + row, mean, mask=row < rows)
        tl.store(moments + rows + row, inverse, mask=row < rows)

    @triton.jit
    def _backward(
        x,
        weight,
        dy,
        dx,
        sums,
        moments,
        rows,
        channels: tl.constexpr,
        AT_ONCE: tl.constexpr,
        WIDTH: tl.constexpr,
    ):
        channel = tl.arange(0, WIDTH)
        scale = tl.load(weight + channel, mask=channel < channels, other=0.0).to(tl.float32)
        of_scale = tl.zeros((WIDTH,), tl.float32)
        of_shift = tl.zeros((WIDTH,), tl.float32)
        for start in range(tl.program_id(0) * AT_ONCE, rows, tl.num_programs(0) * AT_ONCE):
            row = start + tl.arange(0, AT_ONCE)
            real = (row < rows)[:, None] & (channel < channels)[None, :]
            place = row.to(tl.int64)[:, None] * channels + channel[None, :]
            value = tl.load(x + place, mask=real, other=0.0).to(tl.float32)
            given = tl.load(dy + place, mask=real, other=0.0).to(tl.float32)
            mean = tl.load(moments + row, mask=row < rows, other=0.0)
            inverse = tl.load(moments + rows + row, mask=row < rows, other=0.0)
            unit = tl.where(real, (value - mean[:, None]) * inverse[:, None], 0.0)
            scaled = given * scale[None, :]
            along = tl.sum(scaled * unit, 1) / channels
            level = tl.sum(scaled, 1) / channels
            result = (scaled - unit * along[:, None] - level[:, None]) * inverse[:, None]
            tl.store(dx + place, result.to(dx.dtype.element_ty), mask=real)
            of_scale += tl.sum(given * unit, 0)
            of_shift += tl.sum(given, 0)
        place = tl.program_id(0) * 2 * channels + channel
        tl.store(sums + place, of_scale, mask=channel < channels)
        tl.store(sums + place + channels, of_shift, mask=channel < channels)
