"""The same numbers with less time and memory, where a device or a pass allows it.

A forward pass without gradients on a CPU goes through windows a few at a time, so that what a block
computes stays in the cache and in memory that the process already has; lets oneDNN multiply, with
bias and activation in one pass; and attends by plain matrix products where these are faster than the
fused kernel. A pass with gradients keeps nothing for the backward pass that costs next to nothing to
compute again. Everywhere else these functions are what their names say and no more, so graphs that
are traced, and other devices, see plain PyTorch. Measured in docs/performance.md.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as _fused
from torch.utils.checkpoint import checkpoint

_TOKENS_AT_ONCE = 3 * 2**20  # bytes of the tokens that go through a block at once
_SCORES_AT_ONCE = 16 * 2**20  # bytes of attention scores
_FEW_KEYS = 16  # for which the fused kernel costs more than it saves


def is_lean(x: Tensor) -> bool:
    """Whether x is computed on by a CPU, without gradients, and not for a graph."""
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[no-untyped-call]
    )


def slices(x: Tensor) -> Iterator[slice]:
    """The parts of a batch that should be computed on one after the other.

    Args:
        x: Shape (R, ...), rows that do not depend on each other.
    """
    rows = len(x)
    parts = math.ceil(x.nbytes / _TOKENS_AT_ONCE) if is_lean(x) and rows else 1
    step = math.ceil(rows / parts)
    return (slice(start, start + step) for start in range(0, rows, step))


def joined(parts: list[Tensor]) -> Tensor:
    """Rows that were computed in parts."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def recomputed(work: Callable[..., Tensor], *args: Any) -> Tensor:
    """Call `work`, and keep nothing of what it computes: the backward pass calls it again."""
    if torch.is_grad_enabled():
        return cast(Tensor, checkpoint(work, *args, use_reentrant=False))
    return work(*args)


def recomputed_for_free(work: Callable[..., Tensor], *args: Tensor | None) -> Tensor:
    """The same for a norm or an elementwise step with a linear layer behind it.

    Checkpointing stops when it has what was not kept, the input of the layer, so the product is not
    done again. Compilers find such things themselves.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        result = checkpoint(work, *args, use_reentrant=False, preserve_rng_state=False)
        return cast(Tensor, result)
    return work(*args)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention.

    Args:
        q: Queries, shape (R, nH, N', D).
        k, v: Keys and values, shape (R, nH, N, D).

    Returns:
        Shape (R, nH, N', D).
    """
    faster = k.shape[2] <= _FEW_KEYS or (q.dtype == torch.bfloat16 and _multiplies_bf16())
    return _by_products(q, k, v) if faster and is_lean(q) else _fused(q, k, v)


def _by_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`attention` by matrix products, over a part of the scores at a time."""
    rows, heads, queries, dim = q.shape
    q, k, v = (t.flatten(0, 1) for t in (q, k, v))  # (R*nH, N, D)
    result = torch.empty_like(q)
    at_once = _SCORES_AT_ONCE // q.element_size()
    step = max(1, at_once // (queries * k.shape[1]))  # rows of a product
    wide = max(1, min(queries, at_once // k.shape[1]))  # queries of each
    for row in range(0, len(q), step):
        part = slice(row, row + step)
        keys = k[part].transpose(1, 2)  # (r, D, N)
        for query in range(0, queries, wide):
            here = part, slice(query, query + wide)
            scores = torch.bmm(q[here] * dim**-0.5, keys)
            torch.softmax(scores, -1, out=scores)
            torch.bmm(scores, v[part], out=result[here])
    return result.view(rows, heads, queries, dim)


@lru_cache
def _multiplies_bf16() -> bool:
    """Whether this CPU has products of bfloat16, and not those that the fused kernel uses."""
    tell = getattr(torch.cpu, "get_capabilities", dict)  # of torch 2.11 and newer
    return bool(tell().get("avx512_bf16")) and not tell().get("amx_tile")


def linear(x: Tensor, layer: nn.Linear, activation: nn.Module | None = None) -> Tensor:
    """A linear layer, perhaps with an activation behind it.

    Args:
        x: Shape (..., C_in).
        layer: From C_in to C_out channels.
        activation: None: none.

    Returns:
        Shape (..., C_out).
    """
    fused = _FUSED.get(type(activation))
    if fused is None or not _goes_to_onednn(x, layer):
        y = layer(x)
        return cast(Tensor, y if activation is None else activation(y))
    y = torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, fused, [], "none")
    return cast(Tensor, y)


_FUSED = {type(None): "none", nn.GELU: "gelu"}  # as PyTorch's compiler names them


def _goes_to_onednn(x: Tensor, layer: nn.Linear) -> bool:
    """Whether oneDNN, which adds the bias in passing, can do what calling the layer does."""
    return (
        is_lean(x)
        and x.dtype == layer.weight.dtype
        and x.dtype in (torch.float32, torch.bfloat16)
        and type(layer) is nn.Linear
        and not (layer._forward_hooks or layer._forward_pre_hooks)
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.enabled
        and _has_onednn()
    )


@lru_cache
def _has_onednn() -> bool:
    vectors = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    return vectors and hasattr(torch.ops.mkldnn, "_linear_pointwise")
