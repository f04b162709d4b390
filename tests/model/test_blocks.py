"""A block: what is recomputed has the same gradients and saves memory; own layers are called."""

from collections.abc import Callable

import pytest
import torch
from support.common import randomize, relative_error, shallow
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hiera_dense.model import cpu
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.layers import HieraBlock

WAYS = ("block", "mlp")


def gradients(block: HieraBlock, x: Tensor, padding: Tensor | None = None) -> list[Tensor | None]:
    block.zero_grad(set_to_none=True)
    block(x, 2, (4, 4), padding).square().sum().backward()
    return [x.grad, *(param.grad for param in block.parameters())]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("frozen", [(), ("norm1", "norm2"), ("attn.qkv", "mlp"), ("",)])
def test_what_is_recomputed_has_the_same_gradients(way: str, frozen: tuple[str, ...]) -> None:
    found = []
    for recompute in (None, way):
        block = HieraBlock(8, 8, 2, drop_path=0.5, recompute=recompute).double()
        randomize(block)
        for name, param in block.named_parameters():
            param.requires_grad_(not (frozen and name.startswith(frozen)))
        padding = torch.arange(6)[:, None, None].expand(6, 16, 1) == 3
        x = torch.linspace(-1, 1, 6 * 16 * 8, dtype=torch.float64).view(6, 16, 8).requires_grad_()
        torch.manual_seed(1)
        found.append(gradients(block, x, padding))
    for plain, saving in zip(*found, strict=True):
        assert (plain is None) == (saving is None)
        assert plain is None or relative_error(saving, plain) < 1e-12


@pytest.mark.parametrize("way", WAYS)
def test_dropout_of_an_adapter_draws_the_same_again(way: str) -> None:
    x, found = torch.randn(6, 16, 16), []
    for recompute in (None, way):
        block = HieraBlock(16, 16, 2, recompute=recompute)
        randomize(block)
        block.mlp.fc1 = nn.Sequential(nn.Dropout(0.5), block.mlp.fc1)
        torch.manual_seed(1)
        found.append(gradients(block, x.requires_grad_()))
    for plain, saving in zip(*found, strict=True):
        assert relative_error(saving, plain) < 1e-5
        x.grad = None


@pytest.mark.parametrize("way", WAYS)
def test_what_is_recomputed_under_autocast_has_the_same_gradients(way: str) -> None:
    x, found = torch.randn(6, 16, 16), []
    for recompute in (None, way):
        block = HieraBlock(16, 16, 2, recompute=recompute)
        randomize(block)
        with torch.autocast("cpu", torch.bfloat16):
            result = block(x, 2, (4, 4))
        result.square().sum().backward()
        found.append([result, *(param.grad for param in block.parameters())])
    for plain, saving in zip(*found, strict=True):
        assert saving.dtype == torch.float32
        assert torch.equal(saving, plain)


@pytest.mark.parametrize(("way", "again"), [(None, 0), ("block", 8), ("mlp", 4)])
def test_the_last_product_is_not_recomputed(way: str | None, again: int) -> None:
    """A block has 12 products of dim x dim: 3 of qkv, 1 of proj, 4 of fc1 and 4 of fc2."""
    block = HieraBlock(16, 16, 1, recompute=way)
    x = torch.randn(4, 64, 16, requires_grad=True)
    result = block(x, 1, (8, 8))
    with FlopCounterMode(display=False) as counter:
        result.sum().backward()
    products = counter.get_flop_counts()["Global"]
    tokens, dim = 4 * 64, 16
    done = sum(flops for op, flops in products.items() if "mm" in str(op)) / (2 * tokens * dim**2)
    assert done == 2 * 12 + again


# Of a block's tokens: its input, norm1, qkv (3), attention, the middle, norm2, fc1 (4), GELU (4),
# and the mean, the deviation and the log-sum-exp of each token.
@pytest.mark.parametrize(("way", "tokens"), [(None, 16), ("block", 1), ("mlp", 7)])
def test_what_a_block_keeps_for_the_backward_pass(way: str | None, tokens: int) -> None:
    block = HieraBlock(16, 16, 1, recompute=way)
    x = torch.randn(4, 64, 16, requires_grad=True)
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(x, 1, (8, 8))
    weights = {param.untyped_storage().data_ptr() for param in block.parameters()}
    size = sum(size for place, size in kept.items() if place not in weights) / x.nbytes
    assert tokens <= size < tokens + 0.5


def test_drop_path_without_gradients_drops_the_same() -> None:
    model, images = Hiera(shallow("tiny"), drop_path_rate=0.5).train(), torch.randn(3, 3, 96, 96)
    torch.manual_seed(1)
    with torch.no_grad():
        ours = model(images)
    torch.manual_seed(1)
    assert relative_error(ours, model(images)) < 1e-5


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
    model, grid = Hiera(shallow("tiny")), (40, 13)
    expected = model.position_embedding(grid)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.position_embedding(grid), expected)


class Shifted(nn.Linear):
    """A layer that does more than a product, as adapters do."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


@pytest.mark.parametrize("training", [True, False])
def test_layers_put_in_place_of_others_are_called(
    training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "_SMALL", 0)
    block = HieraBlock(8, 8, 1).train(training)
    x = torch.randn(2, 16, 8)
    run: Callable[[], Tensor] = lambda: block(x, 1, (4, 4))  # noqa: E731
    with torch.set_grad_enabled(training):
        before = run()
        for path in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            owner, name = block.get_submodule(path.split(".")[0]), path.split(".")[1]
            old = getattr(owner, name)
            new = Shifted(old.in_features, old.out_features)
            new.load_state_dict(old.state_dict())
            setattr(owner, name, new)
            assert not torch.equal(run(), before), path
            setattr(owner, name, old)
        assert torch.equal(run(), before)
