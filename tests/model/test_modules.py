"""The trunk is a plain nn.Module: hooks, higher derivatives, adapters."""

from collections import Counter
from typing import Any

import pytest
import torch
from support.common import randomize, relative_error, shallow, small_network
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hiera_dense.model import cpu
from hiera_dense.model.hiera import Hiera

# One of each family; without a mask at sizes that windows do not divide.
FAMILIES: dict[str, dict[str, Any]] = {
    "Hiera": dict(arch="tiny"),
    "Hiera, windows that follow the image": dict(arch="base", window_spec="auto"),
    "SAM 2": dict(arch="sam2_tiny"),
    "absolute win": dict(arch="small_abswin"),
    "clips": dict(arch="base_16x224"),
    "relative position": dict(
        arch="tiny", window_spec=(8, 4, 14, 7), global_att_blocks=(4,), rel_pos=(56, 56)
    ),
}
SMALL = small_network(4, (1, 1, 2, 1))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_module_is_called_once_with_all_rows(
    family: str, training: bool, masked: bool
) -> None:
    settings = FAMILIES[family]
    trunk = Hiera(**settings | dict(arch=shallow(settings["arch"]))).train(training)
    clip = len(trunk.arch.mask_unit) == 3
    mask = None
    if masked:
        if family in ("SAM 2", "relative position", "Hiera, windows that follow the image"):
            pytest.skip("its windows do not follow mask units")
        mask = torch.tensor([[True, True, False, True, False, True], [True] * 4 + [False] * 2])
    size = ((4,) if clip else ()) + ((96, 64) if masked else (100, 132))
    if masked and clip:
        mask = mask.repeat(1, 2)
    images = torch.randn(2, 3, *size)

    expected = Counter(
        name
        for name, module in trunk.named_modules()
        if name and not name.endswith((".drop_path", "blocks", ".ls1", ".ls2"))
        if not isinstance(module, nn.Dropout | nn.Identity)
    )
    called: Counter[str] = Counter()
    tokens: dict[str, int] = {}

    def note(name: str, inputs: tuple[Any, ...]) -> None:
        called[name] += 1
        tokens[name] = inputs[0].shape[:-1].numel()

    for name in expected:
        trunk.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: note(name, inputs)
        )
    with torch.set_grad_enabled(training):
        trunk(images, mask)
    assert called == expected
    for number, block in enumerate(trunk.blocks):
        whole = tokens[f"blocks.{number}"]
        for name, _ in block.named_modules():
            if (key := f"blocks.{number}.{name}") in expected:
                pooled = block.q_stride and name.startswith(("attn.proj", "norm2", "mlp"))
                assert tokens[key] >= whole // (4 if pooled else 1), key


def small(**settings: Any) -> Hiera:
    trunk = Hiera(SMALL, **settings)
    randomize(trunk)
    return trunk.double()


SPECS: dict[str, dict[str, Any]] = {
    "as published": {},
    "windows that pad": dict(window_spec=(8, 4, 14, 7), global_att_blocks=(3,)),
    "relative position": dict(rel_pos=(8, 8)),
}


@pytest.mark.parametrize("spec", SPECS)
def test_second_derivatives(spec: str) -> None:
    trunk = small(**SPECS[spec])
    image = torch.randn(1, 3, 36, 40, dtype=torch.float64, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH):
        assert torch.autograd.gradgradcheck(trunk, (image,), fast_mode=True)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("spec", SPECS)
def test_forward_mode_derivatives(
    spec: str, gradients: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "_SMALL", 0)
    trunk = small(**SPECS[spec]).eval()
    image, direction = torch.randn(2, 1, 3, 36, 40, dtype=torch.float64)
    with sdpa_kernel(SDPBackend.MATH), torch.set_grad_enabled(gradients):
        _, ours = torch.func.jvp(trunk, (image,), (direction,))
        with torch.no_grad():
            step = 1e-6 * direction
            expected = (trunk(image + step) - trunk(image - step)) / 2e-6
    assert relative_error(ours, expected) < 1e-6


@pytest.mark.skipif(torch.__version__ < "2.9", reason="this peft needs a newer torch")
def test_an_adapter_of_peft_trains() -> None:
    peft = pytest.importorskip("peft")
    trunk = small().float()
    frozen = {name: value.clone() for name, value in trunk.state_dict().items()}
    model = peft.get_peft_model(trunk, peft.LoraConfig(r=2, target_modules=["qkv"]))
    learned = [param for param in model.parameters() if param.requires_grad]
    assert len(learned) == 2 * len(trunk.blocks)
    optimizer = torch.optim.AdamW(learned, lr=1e-2)
    images = torch.randn(2, 3, 64, 64)
    losses = []
    for _ in range(3):
        loss: Tensor = model(images).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    after = model.unload().state_dict()
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
