"""What is faster on a CPU gives the same numbers."""

import pytest
import torch
from conftest import randomize, relative_error, shallow
from torch import nn

from hiera_dense import cpu
from hiera_dense.hiera import Hiera


@torch.no_grad()
def test_bfloat16_is_as_near_to_float32_as_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention by products rounds scores to bfloat16; the fused kernel does not."""
    model = Hiera(shallow("tiny"), window_spec=(8, 4, 14, 7), global_att_blocks=(4,)).eval()
    randomize(model)
    images = torch.randn(2, 3, 128, 128)
    expected = model(images, return_intermediates=True)[1]
    model.bfloat16()
    errors = []
    for by_products in (True, False):
        monkeypatch.setattr(cpu, "_multiplies_bf16", lambda to=by_products: to)
        given = model(images.bfloat16(), return_intermediates=True)[1]
        pairs = zip(given, expected, strict=True)
        errors.append([((a.float() - b).norm() / b.norm()).item() for a, b in pairs])
    ours, theirs = errors
    assert max(theirs) < 0.05
    assert ours != theirs
    assert all(a < 1.2 * b for a, b in zip(ours, theirs, strict=True)), errors


@pytest.mark.parametrize("at_once", [64, 4096, 2**24])
@pytest.mark.parametrize(("queries", "keys"), [(4, 16), (49, 49), (16, 64)])
@torch.no_grad()
def test_attention_by_products_equals_the_fused_kernel(
    queries: int, keys: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "_SCORES_AT_ONCE", at_once)
    q = torch.randn(6, queries, 2, 8, dtype=torch.float64).transpose(1, 2)
    k, v = torch.randn(2, 6, keys, 2, 8, dtype=torch.float64).transpose(2, 3)
    expected = nn.functional.scaled_dot_product_attention(q, k, v)
    assert relative_error(cpu.attention_by_products(q, k, v), expected) < 1e-12
