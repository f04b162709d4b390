"""The same numbers with less time and memory, where a device or a pass allows it.

On a CPU oneDNN multiplies, with bias and activation in one pass. A forward pass without gradients
there goes through windows a few at a time, so that what a block computes stays in the cache and in
memory that the process already has, and attends by plain matrix products where these are faster
than the fused kernel. A pass with gradients, on any device, keeps nothing for the backward pass
that costs next to nothing to compute again. Graphs that are traced or compiled see plain PyTorch.
Measured in docs/performance.md.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention as _fused
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import flop_registry, register_flop_formula

_TOKENS_AT_ONCE = 3 * 2**20  # bytes of the tokens that go through a block at once
_SCORES_AT_ONCE = 16 * 2**20  # bytes of attention scores
_FEW_KEYS = 16  # for which the fused kernel costs more than it saves


WHOLE = [slice(None)]


def is_lean(x: Tensor) -> bool:
    """Whether x is computed on by a CPU, without gradients, and not for a graph."""
    return is_eager_on_cpu(x) and not torch.is_grad_enabled()


def is_eager_on_cpu(x: Tensor) -> bool:
    """Whether x is computed on by a CPU, and not for a graph."""
    return (
        x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )


def exactly(x: Tensor) -> AbstractContextManager[object]:
    """A context in which x is computed on in its own dtype, without autocast."""
    return torch.autocast(x.device.type, enabled=False) if _autocasts(x) else nullcontext()


def _autocasts(x: Tensor) -> bool:
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def slices(x: Tensor) -> list[slice]:
    """The parts of a batch that are better computed on one after the other, if nothing is kept.

    Args:
        x: Shape (R, ...), rows that do not depend on each other.
    """
    if not is_eager_on_cpu(x) or x.nbytes <= _TOKENS_AT_ONCE:
        return WHOLE
    rows = len(x)
    step = math.ceil(rows / math.ceil(x.nbytes / _TOKENS_AT_ONCE))
    return [slice(start, start + step) for start in range(0, rows, step)]


def joined(parts: list[Tensor]) -> Tensor:
    """Rows that were computed in parts."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def recomputed(work: Callable[..., Tensor], *args: Any) -> Tensor:
    """Call `work`, and keep nothing of what it computes: the backward pass calls it again."""
    if torch.is_grad_enabled():
        return cast(Tensor, checkpoint(work, *args, use_reentrant=False))
    return work(*args)


def attention(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """Scaled dot-product attention.

    Args:
        q: Queries, shape (R, nH, N', D).
        k: Keys, shape (R, nH, N, D).
        v: Values, shape (R, nH, N, D'), D' at most D.
        scale: Factor on the products of queries and keys; None: D**-0.5.

    Returns:
        Shape (R, nH, N', D').
    """
    faster = k.shape[2] <= _FEW_KEYS or (q.dtype == torch.bfloat16 and _multiplies_bf16())
    if faster and is_lean(q):
        return _by_products(q, k, v, scale)
    dim, width = v.shape[-1], q.shape[-1]
    if dim == width:
        return _fused(q, k, v, scale=scale)
    # Flash attention, on a CPU too, wants values as wide as keys.
    return _fused(q, k, F.pad(v, (0, width - dim)), scale=scale)[..., :dim]


def _by_products(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """`attention` by matrix products, over a part of the scores at a time."""
    rows, heads, queries, dim = q.shape
    factor = dim**-0.5 if scale is None else scale
    q, k, v = (t.flatten(0, 1) for t in (q, k, v))  # (R*nH, N, D)
    result = q.new_empty(*q.shape[:2], v.shape[-1])
    at_once = _SCORES_AT_ONCE // q.element_size()
    step = max(1, at_once // (queries * k.shape[1]))  # rows of a product
    wide = max(1, min(queries, at_once // k.shape[1]))  # queries of each
    for row in range(0, len(q), step):
        part = slice(row, row + step)
        keys = k[part].transpose(1, 2)  # (r, D, N)
        for query in range(0, queries, wide):
            here = part, slice(query, query + wide)
            scores = torch.bmm(q[here] * factor, keys)
            torch.softmax(scores, -1, out=scores)
            torch.bmm(scores, v[part], out=result[here])
    return result.view(rows, heads, queries, -1)


@lru_cache
def _multiplies_bf16() -> bool:
    """Whether this CPU has products of bfloat16, and not those that the fused kernel uses."""
    if not hasattr(torch.cpu, "get_capabilities"):  # of older versions of torch
        return False
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16")) and not able.get("amx_tile")


def linear(x: Tensor, layer: nn.Linear, activation: nn.Module | None = None) -> Tensor:
    """A linear layer, perhaps with an activation behind it.

    Args:
        x: Shape (..., C_in).
        layer: From C_in to C_out channels.
        activation: None: none.

    Returns:
        Shape (..., C_out).
    """
    if _is_plain(x, layer):
        if torch.is_grad_enabled():
            y = _apply(None, x, layer.weight, layer.bias)
        elif type(activation) is nn.GELU and activation.approximate == "none":
            return _product(x, layer.weight, layer.bias, "gelu")
        else:
            y = _product(x, layer.weight, layer.bias)
    else:
        y = layer(x)
    return y if activation is None else cast(Tensor, activation(y))


def linear_after(
    before: Callable[..., Tensor], x: Tensor, params: tuple[Tensor, ...], layer: nn.Linear
) -> Tensor:
    """`layer(before(x, *params))`, which keeps x in place of what the layer took.

    Args:
        before: A norm or an elementwise step, which costs next to nothing to do again in the
            backward pass. Every tensor that needs a gradient is among its arguments.
        x: Shape (..., C_in).
        params: The other arguments.
        layer: From C_in to C_out channels.

    Returns:
        Shape (..., C_out). Can be differentiated once.
    """
    if torch.is_grad_enabled() and _is_plain(x, layer):
        return _apply(before, x, layer.weight, layer.bias, *params)
    return linear(before(x, *params), layer)


def _is_plain(x: Tensor, layer: nn.Linear) -> bool:
    """Whether calling a layer is no more than a product, and no graph is made of it."""
    return (
        type(layer) is nn.Linear
        and type(layer.weight) is nn.Parameter  # and none that is quantized or distributed
        and not (layer._forward_hooks or layer._forward_pre_hooks)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )


class _Linear(torch.autograd.Function):
    """A product that keeps what stood before something cheap, and does that again."""

    @staticmethod
    def forward(
        before: Callable[..., Tensor] | None,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *params: Tensor,
    ) -> Tensor:
        return _product(x if before is None else before(x, *params), weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.before, x, weight, _, *params = inputs
        ctx.save_for_backward(x, weight, *params)
        ctx.autocast = nullcontext
        if _autocasts(x):
            kind = x.device.type
            ctx.autocast = partial(torch.autocast, kind, torch.get_autocast_dtype(kind))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *params = ctx.saved_tensors
        _, for_x, for_weight, for_bias, *for_params = ctx.needs_input_grad
        wanted = (for_x, *for_params)
        leaves = [
            leaf.detach().requires_grad_(want)
            for leaf, want in zip((x, *params), wanted, strict=True)
        ]
        y = leaves[0]
        if ctx.before is not None:
            with torch.enable_grad(), ctx.autocast():
                y = ctx.before(*leaves)
        rows = grad.flatten(0, -2)
        of_weight = of_bias = None
        if for_weight:
            of_weight = (rows.t() @ y.detach().flatten(0, -2).to(grad.dtype)).to(weight.dtype)
        if for_bias:
            of_bias = rows.sum(0).to(weight.dtype)
        of_leaves: Iterator[Tensor] = iter(())
        if any(wanted):
            of_y = _product(rows, weight.to(grad.dtype).t(), None).view(y.shape).to(y.dtype)
            if ctx.before is None:
                of_leaves = iter([of_y])
            else:
                needed = [leaf for leaf in leaves if leaf.requires_grad]
                of_leaves = iter(torch.autograd.grad(y, needed, of_y))
        of_x, *of_params = (next(of_leaves) if want else None for want in wanted)
        return None, of_x, of_weight, of_bias, *of_params


_apply = cast("Callable[..., Tensor]", _Linear.apply)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    """A linear layer and an activation; by oneDNN on a CPU, which adds the bias in passing."""
    onednn = (
        x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.bfloat16)
        and not _autocasts(x)
        and torch.backends.mkldnn.enabled
        and _has_onednn()
    )
    if onednn:
        y = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], "none")
        return cast(Tensor, y)
    y = F.linear(x, weight, bias)
    return F.gelu(y) if activation == "gelu" else y


@lru_cache
def _has_onednn() -> bool:
    vectors = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    return vectors and hasattr(torch.ops.mkldnn, "_linear_pointwise")


if _has_onednn() and torch.ops.mkldnn._linear_pointwise not in flop_registry:

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _flops(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
        """For PyTorch's counter, which does not know this product."""
        return 2 * math.prod(x) * weight[0]
