"""What is faster on a CPU: attention in bfloat16 by matrix products, where no gradient is needed.

PyTorch's fused attention multiplies bfloat16 no faster than float32 on a CPU without AMX. Measured
in docs/performance.md.
"""

from functools import lru_cache

import torch
from torch import Tensor

_SCORES_AT_ONCE = 16 * 2**20  # bytes of attention scores


def prefers_products(q: Tensor) -> bool:
    """Whether `attention_by_products` is faster than the fused kernel for queries, and may be used.

    Graphs that are traced or compiled get the fused kernel.
    """
    return (
        q.device.type == "cpu"
        and q.dtype == torch.bfloat16
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and _multiplies_bf16()
    )


@lru_cache
def _multiplies_bf16() -> bool:
    """Whether this CPU has products of bfloat16, and not those that the fused kernel uses."""
    if not hasattr(torch.cpu, "get_capabilities"):  # of older versions of torch
        return False
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16")) and not able.get("amx_tile")


def attention_by_products(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """`attention.attention` by matrix products, over a part of the scores at a time."""
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
