"""Less time and memory, the same numbers: in parts, by oneDNN, by products, recomputed for free."""

import pytest
import torch
from conftest import randomize, relative_error, shallow
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hiera_dense import compute
from hiera_dense.hiera import Hiera
from hiera_dense.layers import HieraBlock

SPEC = dict(window_spec=(8, 4, 14, 7), global_att_blocks=(4,))
ONEDNN = pytest.mark.skipif(not compute._has_onednn(), reason="oneDNN is for x86 with AVX")


def trunk(dtype: torch.dtype = torch.float32) -> Hiera:
    model = Hiera(shallow("tiny"), **SPEC)
    randomize(model)
    return model.to(dtype).eval()


@pytest.mark.parametrize("at_once", [1, 20_000, 2**30])
@torch.no_grad()
def test_rows_in_parts_give_the_same(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = trunk(torch.float64), torch.randn(2, 3, 100, 132, dtype=torch.float64)
    with torch.enable_grad():
        expected = model(images, return_intermediates=True)[1]
    monkeypatch.setattr(compute, "_TOKENS_AT_ONCE", at_once)
    parts = len(compute.slices(torch.zeros(16, 64, 96)))
    assert parts == {1: 16, 20_000: 16, 2**30: 1}[at_once]
    ours = model(images, return_intermediates=True)[1]
    assert max(relative_error(a, b) for a, b in zip(ours, expected, strict=True)) < 1e-12


@torch.no_grad()
def test_drop_path_without_gradients_drops_whole_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "_TOKENS_AT_ONCE", 20_000)
    model, images = Hiera(shallow("tiny"), drop_path_rate=0.5).train(), torch.randn(3, 3, 96, 96)
    torch.manual_seed(1)
    ours = model(images)
    with torch.enable_grad():
        torch.manual_seed(1)
        expected = model(images)
    assert relative_error(ours, expected) < 1e-5


@ONEDNN
@torch.no_grad()
def test_float32_by_onednn_equals_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = trunk(), torch.randn(2, 3, 100, 132)
    calls = []
    product = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(
        torch.ops.mkldnn,
        "_linear_pointwise",
        lambda *args: (calls.append(args[3]), product(*args))[1],
    )
    ours = model(images, return_intermediates=True)[1]
    assert {"none", "gelu"} == set(calls)
    expected = model.double()(images.double(), return_intermediates=True)[1]
    errors = [relative_error(a.double(), b) for a, b in zip(ours, expected, strict=True)]
    assert max(errors) < 2e-5


@torch.no_grad()
def test_bfloat16_is_as_near_to_float32_as_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention by products rounds scores to bfloat16; the fused kernel does not."""
    model, images = trunk(), torch.randn(2, 3, 128, 128)
    expected = model(images, return_intermediates=True)[1]
    half = trunk(torch.bfloat16)
    errors = []
    for by_products in (True, False):
        monkeypatch.setattr(compute, "_multiplies_bf16", lambda to=by_products: to)
        monkeypatch.setattr(compute, "_FEW_KEYS", 16 if by_products else 0)
        ours = half(images.bfloat16(), return_intermediates=True)[1]
        errors.append(
            [
                ((a.float() - b).norm() / b.norm()).item()
                for a, b in zip(ours, expected, strict=True)
            ]
        )
    ours, theirs = errors
    assert max(theirs) < 0.05
    assert all(a < 1.2 * b for a, b in zip(ours, theirs, strict=True)), errors


@pytest.mark.parametrize("at_once", [64, 4096, 2**24])
@pytest.mark.parametrize(("queries", "keys"), [(4, 16), (49, 49), (16, 64)])
@torch.no_grad()
def test_attention_by_products_equals_the_fused_kernel(
    queries: int, keys: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "_SCORES_AT_ONCE", at_once)
    q = torch.randn(6, queries, 2, 8, dtype=torch.float64).transpose(1, 2)
    k, v = torch.randn(2, 6, keys, 2, 8, dtype=torch.float64).transpose(2, 3)
    expected = nn.functional.scaled_dot_product_attention(q, k, v)
    assert relative_error(compute._by_products(q, k, v), expected) < 1e-12


@pytest.mark.parametrize("frozen", [(), ("norm1", "norm2"), ("attn.qkv", "mlp"), ("",)])
def test_gradients_are_those_of_pytorch(frozen: tuple[str, ...]) -> None:
    block = HieraBlock(8, 8, 2).double()
    randomize(block)
    for name, param in block.named_parameters():
        param.requires_grad_(not (frozen and name.startswith(frozen)))
    padding = torch.arange(6)[:, None, None].expand(6, 16, 1) == 3
    found = []
    for plain in (False, True):
        block.with_cp = plain  # which takes PyTorch's own layers
        block.zero_grad(set_to_none=True)
        x = torch.linspace(-1, 1, 6 * 16 * 8, dtype=torch.float64).view(6, 16, 8).requires_grad_()
        block(x, 2, (4, 4), padding).square().sum().backward()
        found.append([x.grad, *(param.grad for param in block.parameters())])
    for ours, theirs in zip(*found, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or relative_error(ours, theirs) < 1e-12


def test_gradients_under_autocast_are_those_of_pytorch() -> None:
    block = HieraBlock(16, 16, 2)
    randomize(block)
    x = torch.randn(6, 16, 16)
    found = []
    for plain in (False, True):
        block.with_cp = plain
        block.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            result = block(x, 2, (4, 4))
        result.square().sum().backward()
        found.append([result, *(param.grad for param in block.parameters())])
    assert all(param.grad.dtype == torch.float32 for param in block.parameters())
    for ours, theirs in zip(*found, strict=True):
        assert relative_error(ours, theirs) < 2e-2


def test_a_training_step_keeps_neither_norms_nor_gelu() -> None:
    block = HieraBlock(16, 16, 1)
    x = torch.randn(4, 64, 16, requires_grad=True)
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(x, 1, (8, 8))
    weights = {param.untyped_storage().data_ptr() for param in block.parameters()}
    tokens = sum(size for place, size in kept.items() if place not in weights) / x.nbytes
    # x, qkv, what attention gave, the middle of the block, hidden; and attention's log-sum-exp.
    assert 10 <= tokens < 10.5


def test_a_recomputed_half_stops_before_its_last_product() -> None:
    block = HieraBlock(16, 16, 1, with_cp=True)
    x = torch.randn(4, 64, 16, requires_grad=True)
    result = block(x, 1, (8, 8))
    with FlopCounterMode(display=False) as counter:
        result.sum().backward()
    products = counter.get_flop_counts()["Global"]
    tokens, dim = 4 * 64, 16
    done = sum(flops for op, flops in products.items() if "mm" in str(op)) / (2 * tokens * dim**2)
    # 12 products of dim x dim in a block, twice in the backward pass; 3 of qkv and 4 of fc1 again.
    assert done == 24 + 7


@ONEDNN
@torch.no_grad()
def test_pytorch_counts_the_products_of_onednn() -> None:
    layer = nn.Linear(8, 4)
    with FlopCounterMode(display=False) as counter:
        compute.linear(torch.randn(2, 3, 8), layer)
    assert counter.get_total_flops() == 2 * 6 * 8 * 4


@pytest.mark.parametrize("training", [True, False])
def test_shapes_without_values(training: bool) -> None:
    with torch.device("meta"), torch.set_grad_enabled(training):
        model = Hiera(shallow("tiny"), window_spec="auto")
        last = model(torch.empty(1, 3, 320, 416))
    assert (last.shape, last.is_meta) == ((1, 10, 13, 768), True)
    if training:
        last.sum().backward()


@torch.no_grad()
def test_positions_are_exact_under_autocast() -> None:
    model, grid = trunk(), (40, 13)
    expected = model._resize_tables(grid)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model._resize_tables(grid), expected)


class Lora(nn.Linear):
    """A layer that does more than a product."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1


@pytest.mark.parametrize("training", [True, False])
def test_layers_of_ones_own_and_hooks_are_called(training: bool) -> None:
    block = HieraBlock(8, 8, 1)
    x = torch.randn(2, 16, 8)
    with torch.set_grad_enabled(training):
        before = block(x, 1, (4, 4))
        for path in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            owner, name = block.get_submodule(path.split(".")[0]), path.split(".")[1]
            old = getattr(owner, name)
            new = Lora(old.in_features, old.out_features)
            new.load_state_dict(old.state_dict())
            setattr(owner, name, new)
            assert not torch.equal(block(x, 1, (4, 4)), before), path
            setattr(owner, name, old)
            called = []
            handle = old.register_forward_hook(lambda *_, to=called: to.append(1))
            block(x, 1, (4, 4))
            handle.remove()
            assert called, path
            assert torch.equal(block(x, 1, (4, 4)), before)
