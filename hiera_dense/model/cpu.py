"""Two shortcuts for a CPU without gradients: MLPs by oneDNN, attention as two matrix products.

`layers.Mlp` and `attention.attention` ask here, each in one line; the rest of the trunk is the same
on all devices. Not used while PyTorch traces, transforms or counts calls. Measured in
docs/performance.md.
"""

from functools import lru_cache

import torch
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn.modules import module

from hiera_dense.model.graphs import is_observed

_SMALL = 2**18  # bytes of tokens up to which calls take longer than what they save
_TOKENS_AT_ONCE = 4096  # that an MLP takes
# Of timm's MLP, in the order of its `forward`.
_PARTS = (nn.Linear, nn.GELU, nn.Dropout, nn.Identity, nn.Linear, nn.Dropout)
_SCORES_AT_ONCE = 16 * 2**20  # bytes of attention scores


def _is_lean(x: Tensor) -> bool:
    """Whether x is computed on by a CPU, without gradients, and nothing watches it."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not is_observed()


def prefers_fused_mlp(mlp: Mlp, x: Tensor) -> bool:
    """Whether an MLP is faster with `fused_mlp`, and that would skip nothing.

    Args:
        mlp: Two linear layers with an activation between them.
        x: Its input, shape (..., C).
    """
    return (
        _is_lean(x)
        and x.nbytes > _SMALL
        and not mlp.training
        and not torch.is_autocast_enabled("cpu")
        and x.dtype == mlp.fc1.weight.dtype == torch.float32
        and tuple(map(type, mlp.children())) == _PARTS
        and mlp.act.approximate == "none"
        and all(type(param) is nn.Parameter for param in mlp.parameters())
        and not any(map(_is_changed, mlp.modules()))
        and not (module._global_forward_hooks or module._global_forward_pre_hooks)
        and bool(torch.backends.mkldnn.enabled)
        and _has_onednn()
    )


def fused_mlp(mlp: Mlp, x: Tensor) -> Tensor:
    """An MLP by oneDNN, with biases and GELU fused into the products, on slices of the tokens.

    The hidden layer of a slice stays in cache, and in memory that the process already holds: the
    allocator gives blocks above 32 MB back after each use, and getting one again takes as long as
    a product.
    """
    product = torch.ops.mkldnn._linear_pointwise  # what PyTorch's own compiler emits
    results = []
    for tokens in torch.split(x.flatten(0, -2), _TOKENS_AT_ONCE):
        hidden = product(tokens, mlp.fc1.weight, mlp.fc1.bias, "gelu", [], "none")
        results.append(product(hidden, mlp.fc2.weight, mlp.fc2.bias, "none", [], "none"))
    return (results[0] if len(results) == 1 else torch.cat(results)).view(x.shape)


@lru_cache
def _has_onednn() -> bool:
    vectors = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    return vectors and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _is_changed(part: nn.Module) -> bool:
    """Whether more than its class's `forward` runs when it is called."""
    return bool(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part))


def prefers_products(q: Tensor) -> bool:
    """Whether attention is faster with `attention_by_products` for these queries.

    PyTorch's fused kernel multiplies bfloat16 no faster than float32 on a CPU without AMX.
    """
    return _is_lean(q) and q.dtype == torch.bfloat16 and _multiplies_bf16()


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
