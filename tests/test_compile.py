"""Compiled graphs: equal to what runs without them, and few."""

from typing import Any

import pytest
import torch
from conftest import randomize, relative_error
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from hiera_dense.backbone import HieraBackbone

pytestmark = pytest.mark.skipif(torch.__version__ < "2.9", reason="torch 2.9 or newer compiles it")

SMALL = dict(embed_dim=16, num_heads=1, stages=(1, 1, 2, 1))
SPECS: dict[str, dict[str, Any]] = {
    "as published": {},
    "windows and global blocks": dict(
        window_spec=(8, 4, 6, 4),
        global_att_blocks=(2, 3),
        pos_embed=dict(kind="absolute_win"),
        rel_pos=(56, 56),
    ),
}
SIZES = [(224, 224), (448, 576), (250, 333), (130, 211), (299, 501)]


@pytest.fixture(autouse=True)
def _forget() -> None:
    torch._dynamo.reset()


def small(**settings: Any) -> HieraBackbone:
    backbone = HieraBackbone(SMALL, **settings).eval()
    randomize(backbone)
    return backbone


def require_equal(compiled: Any, backbone: HieraBackbone, size: tuple[int, int]) -> None:
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        for ours, theirs in zip(compiled(image), backbone(image), strict=True):
            assert relative_error(ours, theirs) < 1e-5


@pytest.mark.parametrize("spec", SPECS)
def test_two_graphs_are_enough_for_all_sizes(spec: str) -> None:
    backbone = small(**SPECS[spec])
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(backbone, fullgraph=True, backend=counter)
    for graphs, size in enumerate([(256, 320), (320, 384)], 1):
        require_equal(compiled, backbone, size)
        assert counter.frame_count == graphs
    for size in SIZES:
        require_equal(compiled, backbone, size)
    assert counter.frame_count == 2


def test_windows_that_follow_the_image_have_a_graph_for_each_size() -> None:
    backbone = small(window_spec="auto")
    compiled = torch.compile(backbone, fullgraph=True, backend="eager", dynamic=False)
    for size in ((160, 224), (320, 384)):
        require_equal(compiled, backbone, size)


def test_gradients_of_a_compiled_backbone_are_equal() -> None:
    backbone = small(**SPECS["windows and global blocks"]).train()
    compiled = torch.compile(backbone, fullgraph=True, backend="aot_eager")
    image = torch.randn(2, 3, 160, 224)

    def gradients(model: Any) -> dict[str, Tensor]:
        backbone.zero_grad()
        sum((features**2).mean() for features in model(image)).backward()
        return {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}

    expected = gradients(backbone)
    assert len(expected) == len(list(backbone.parameters()))
    given = gradients(compiled)
    assert given.keys() == expected.keys()
    for name, gradient in given.items():
        assert relative_error(gradient, expected[name]) < 1e-5, name


def test_code_made_by_inductor_is_equal() -> None:
    backbone = small()
    compiled = torch.compile(backbone, fullgraph=True, dynamic=False)
    require_equal(compiled, backbone, (160, 224))
