"""What is faster on a CPU gives the same numbers, and makes way for what it would skip."""

from collections.abc import Callable

import pytest
import torch
from support.common import randomize, relative_error, shallow
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hiera_dense.model import cpu
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.layers import Mlp

ONEDNN = pytest.mark.skipif(not cpu._has_onednn(), reason="oneDNN is for x86 with AVX")


@pytest.fixture
def mlp() -> Mlp:
    made = Mlp(96, 384).eval()
    randomize(made)
    return made


@ONEDNN
@pytest.mark.parametrize("at_once", [1000, 2**20])
@torch.no_grad()
def test_a_fused_mlp_equals_float64(
    mlp: Mlp, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "_TOKENS_AT_ONCE", at_once)
    x = torch.randn(50, 49, 96)
    assert cpu.prefers_fused_mlp(mlp, x)
    result = mlp(x)
    assert relative_error(result.double(), mlp.double()(x.double())) < 1e-5


@ONEDNN
def test_pytorch_counts_the_products_of_an_mlp(mlp: Mlp) -> None:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        mlp(torch.randn(50, 49, 96))
    assert counter.get_total_flops() == 2 * 50 * 49 * 2 * 96 * 384


class Adapted(nn.Linear):
    """A layer that does more than a product."""


class Sharded(nn.Parameter):
    """A parameter that is more than its values."""


CHANGES: dict[str, Callable[[Mlp], object]] = {
    "another layer": lambda mlp: setattr(mlp, "fc1", Adapted(96, 384)),
    "another activation": lambda mlp: setattr(mlp, "act", nn.ReLU()),
    "approximate GELU": lambda mlp: setattr(mlp, "act", nn.GELU("tanh")),
    "a hook": lambda mlp: mlp.act.register_forward_hook(lambda *_: None),
    "a hook before": lambda mlp: mlp.fc2.register_forward_pre_hook(lambda *_: None),
    "training": lambda mlp: mlp.train(),
    "another dtype": lambda mlp: mlp.bfloat16(),
    "another parameter": lambda mlp: setattr(mlp.fc1, "weight", Sharded(mlp.fc1.weight.data)),
    "another forward": lambda mlp: setattr(mlp.fc1, "forward", lambda x: x),
    "a norm": lambda mlp: setattr(mlp, "norm", nn.LayerNorm(384)),
}


@ONEDNN
@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_what_fusing_would_skip_is_not_fused(mlp: Mlp, change: str) -> None:
    assert cpu.prefers_fused_mlp(mlp, torch.randn(50, 49, 96))
    CHANGES[change](mlp)
    assert not cpu.prefers_fused_mlp(mlp, torch.randn(50, 49, 96))


def test_with_gradients_under_autocast_and_when_small_nothing_is_fused(mlp: Mlp) -> None:
    x = torch.randn(50, 49, 96)
    assert not cpu.prefers_fused_mlp(mlp, x)
    with torch.no_grad():
        assert not cpu.prefers_fused_mlp(mlp, x[:1])
        with torch.autocast("cpu", torch.bfloat16):
            assert not cpu.prefers_fused_mlp(mlp, x)


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
