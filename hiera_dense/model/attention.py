"""Scaled dot-product attention, by the kernel that suits the device."""

import torch.nn.functional as F
from torch import Tensor

from hiera_dense.model import cpu


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
    if cpu.prefers_products(q):
        return cpu.attention_by_products(q, k, v, scale)
    dim, width = v.shape[-1], q.shape[-1]
    if dim == width:
        return F.scaled_dot_product_attention(q, k, v, scale=scale)
    # Flash attention wants values as wide as keys.
    v = F.pad(v, (0, width - dim))
    return F.scaled_dot_product_attention(q, k, v, scale=scale)[..., :dim]
