"""The trunk as one graph of torch.compile: equal to what runs without, in every mode, and few."""

import copy
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from support.common import randomize, relative_error, small_network
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hiera_dense.model.classifier import Classifier
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.mae import MaskedAutoencoder

VERSION = tuple(map(int, torch.__version__.split(".")[:2]))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(VERSION < (2, 9), reason="torch 2.9 or newer compiles it"),
]

SMALL = small_network(16, (1, 1, 2, 1))
CLIPS = SMALL | dict(
    mask_unit=(1, 8, 8),
    q_stride=(1, 2, 2),
    patch_kernel=(3, 7, 7),
    patch_stride=(2, 4, 4),
    patch_padding=(1, 3, 3),
    pos_embed=dict(kind="separable"),
)
PADS = dict(window_spec=(8, 4, 14, 7), global_att_blocks=(3,), pos_embed=dict(kind="absolute_win"))
CASES: dict[str, dict[str, Any]] = {
    "as published": {},
    "windows that fit": dict(window_spec=(8, 4, 4, 2), global_att_blocks=(3,)),
    "windows that pad": PADS,
    "windows that follow the image": dict(window_spec="auto"),
    "all recomputed": dict(with_cp=True),
    "MLPs recomputed": dict(with_cp="mlp", **PADS),
    "drop path": dict(drop_path_rate=0.5),
    "drop path, recomputed": dict(drop_path_rate=0.5, with_cp=True),
    "relative position": dict(rel_pos=(56, 56)),
    "layer scale": dict(arch=SMALL | dict(layer_scale=0.1, expand_proj=False)),
    "mask": {},
    "clip": dict(arch=CLIPS),
}
DTYPES = ("float32", "bfloat16", "float16", "autocast")


@pytest.fixture(autouse=True)
def _forget() -> None:
    torch._dynamo.reset()


def small(case: str, **settings: Any) -> Hiera:
    trunk = Hiera(**dict(arch=SMALL) | CASES[case] | settings)
    randomize(trunk)
    return trunk


def inputs(case: str) -> tuple[Tensor, ...]:
    size = {"clip": (4, 64, 96), "windows that pad": (100, 130)}.get(case, (96, 128))
    mask = (torch.rand(2, 12).argsort(1) < 5,) if case == "mask" else ()
    return torch.randn(2, 3, *size), *mask


@pytest.mark.parametrize("way", ["compile=", "torch.compile"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_one_graph_in_every_mode(case: str, dtype: str, training: bool, way: str) -> None:
    if case == "mask" and way == "torch.compile" and VERSION < (2, 11):
        pytest.skip("a mask that is compiled with the trunk needs torch 2.11 or newer")
    trunk, (images, *mask) = small(case).train(training), inputs(case)
    context: AbstractContextManager[object] = nullcontext()
    if dtype == "autocast":
        context = torch.autocast("cpu", torch.bfloat16)
    else:
        trunk.to(getattr(torch, dtype))
        images = images.to(getattr(torch, dtype))
    counter = CompileCounterWithBackend("eager")
    if way == "torch.compile":
        compiled: Any = torch.compile(trunk, fullgraph=True, backend=counter)
    else:
        compiled = small(case, compile=dict(backend=counter)).train(training)
        compiled.to(trunk.patch_embed.proj.weight.dtype)
    results = []
    for model in (trunk, compiled):
        torch.manual_seed(1)
        with torch.set_grad_enabled(training), context:
            results.append(model(images, *mask))
    expected, given = results
    assert counter.frame_count == 1
    assert given.dtype == expected.dtype
    assert relative_error(given.float(), expected.float()) < (1e-5 if dtype == "float32" else 0.05)
    if training:
        given.float().square().mean().backward()


# Of multi-scale training, in both orientations, at half of the usual 480 to 800 x 1333 px.
SIZES = [(240, 320), (400, 544), (320, 480), (672, 400), (384, 576), (256, 672), (608, 368)]
ODD_SIZES = [(250, 333), (130, 211), (224, 224), (64, 40)]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "case", ["as published", "windows that pad", "windows that follow the image"]
)
def test_few_graphs_are_enough_for_all_sizes(case: str, training: bool) -> None:
    counter = CompileCounterWithBackend("eager")
    settings = dict(arch=small_network(8, (1, 1, 2, 1)))
    plain = small(case, **settings).train(training)
    compiled = small(case, **settings, compile=dict(backend=counter)).train(training)

    def check(size: tuple[int, int]) -> None:
        image = torch.randn(1, 3, *size)
        with torch.set_grad_enabled(training):
            assert relative_error(compiled(image), plain(image)) < 1e-5

    for size in SIZES:
        check(size)
    assert counter.frame_count <= 3
    for size in ODD_SIZES:
        check(size)
    # One more wherever one window covers a side of the image, which others do not.
    assert counter.frame_count <= 8


def test_models_do_not_share_the_number_of_graphs_that_pytorch_allows() -> None:
    counter = CompileCounterWithBackend("eager")
    image = torch.randn(1, 3, 64, 64)
    smallest = small_network(8, (1, 1), window_spec=(8, 4))
    for models in range(1, 11):
        Hiera(smallest, compile=dict(backend=counter))(image)
        assert counter.frame_count == models


@pytest.mark.parametrize("with_cp", [False, True, "mlp"])
def test_gradients_of_a_graph_are_equal(with_cp: bool | str) -> None:
    image, found = torch.randn(2, 3, 160, 224), []
    for compile in (False, dict(backend="aot_eager")):
        settings = dict(rel_pos=(56, 56), with_cp=with_cp, drop_path_rate=0.3)
        trunk = small("windows that pad", **settings, compile=compile)
        torch.manual_seed(1)
        stages = trunk(image, return_intermediates=True)[1]
        sum(features.square().mean() for features in stages).backward()
        found.append([param.grad for param in trunk.parameters()])
    plain, compiled = found
    assert max(map(relative_error, compiled, plain)) < 1e-5


def test_code_made_by_inductor_is_equal() -> None:
    image, found = torch.randn(1, 3, 96, 128), []
    for compile in (False, True):
        arch = SMALL | dict(stages=(1, 1, 1), window_spec=(8, 4, 14))
        trunk = small("as published", arch=arch, compile=compile)
        with torch.no_grad():
            evaluated = trunk(image)
        trunk(image).square().mean().backward()
        found.append([evaluated, *(param.grad for param in trunk.parameters())])
    plain, compiled = found
    assert max(map(relative_error, compiled, plain)) < 1e-4


def test_a_frozen_part_gets_no_gradient() -> None:
    trunk = small("as published", compile=dict(backend="aot_eager"))
    trunk.patch_embed.requires_grad_(False)
    trunk.pos_embed.requires_grad_(False)
    trunk.blocks[:2].requires_grad_(False)
    trunk(torch.randn(1, 3, 64, 64)).sum().backward()
    learned = {name for name, param in trunk.named_parameters() if param.grad is not None}
    assert {name[: len("blocks.2")] for name in learned} == {"blocks.2", "blocks.3", "blocks.4"}


COPIES: dict[str, Callable[[Hiera], Hiera]] = {
    "copy": copy.deepcopy,
    "pickle": lambda trunk: pickle.loads(pickle.dumps(trunk)),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_compile_for_themselves(how: str) -> None:
    trunk = small("as published", compile=dict(backend="eager"))
    image = torch.randn(1, 3, 64, 64)
    expected = trunk(image)
    other = COPIES[how](trunk)
    assert len(trunk._maybe_compiled._compiled) == 1
    assert not other._maybe_compiled._compiled
    assert torch.equal(other(image), expected)
    assert list(other.state_dict()) == list(small("as published").state_dict())
    with torch.no_grad():
        other.blocks[0].mlp.fc1.bias.add_(1)
    assert not torch.equal(other(image), expected)
    assert torch.equal(trunk(image), expected)


def test_a_saved_model_comes_back_without_its_graph(tmp_path: Path) -> None:
    trunk = small("as published", compile=dict(backend="eager"))
    image = torch.randn(1, 3, 64, 64)
    expected = trunk(image)
    trunk.save_pretrained(tmp_path)
    assert "compile" not in (tmp_path / "config.json").read_text()
    assert torch.equal(Hiera.from_pretrained(tmp_path)(image), expected)


@pytest.mark.parametrize("with_cp", [False, "mlp"])
def test_a_masked_autoencoder_is_one_graph(with_cp: bool | str) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    settings = dict(decoder_dim=16, decoder_depth=2, decoder_num_heads=2, with_cp=with_cp)
    plain = MaskedAutoencoder(SMALL, **settings)
    compiled = MaskedAutoencoder(SMALL, **settings, compile=dict(backend=counter))
    compiled.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 96, 128)
    found = []
    for model in (plain, compiled):
        loss = model(images, generator=torch.Generator().manual_seed(1)).loss
        loss.backward()
        found.append([loss.detach(), *(param.grad for param in model.parameters())])
    assert counter.frame_count == 1
    assert max(map(relative_error, *found)) < 1e-5


def test_a_classifier_has_a_compiled_trunk() -> None:
    counter = CompileCounterWithBackend("eager")
    plain, compiled = Classifier(SMALL, 3), Classifier(SMALL, 3, compile=dict(backend=counter))
    compiled.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 64, 64)
    assert relative_error(compiled(image), plain(image)) < 1e-5
    assert counter.frame_count == 1


@pytest.mark.skipif(VERSION < (2, 11), reason="see above")
def test_a_mask_that_does_not_fit_is_told_by_a_graph() -> None:
    trunk = small("mask")
    compiled = torch.compile(trunk, fullgraph=True, backend="eager")
    mask = torch.tensor([[True] * 5 + [False] * 7, [True] * 4 + [False] * 8])
    with pytest.raises((RuntimeError, ValueError), match="as many"):
        compiled(torch.randn(2, 3, 96, 128), mask)


def test_what_traces_transforms_or_counts_sees_plain_calls() -> None:
    counter = CompileCounterWithBackend("eager")
    trunk = small("as published", compile=dict(backend=counter)).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = small("as published").eval()(image)
        traced = torch.jit.trace(trunk, image, check_trace=False)
        assert relative_error(traced(image), expected) < 1e-5
        with FlopCounterMode(display=False) as flops:
            trunk(image)
        assert flops.get_total_flops() > 0
        with sdpa_kernel(SDPBackend.MATH):
            _, tangent = torch.func.jvp(trunk, (image,), (image,))
    assert tangent.any()
    assert counter.frame_count == 0
