"""Checkpoints by the thousand: each is loaded whole, or refused by name with nothing filled."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as to_safetensors
from support.common import small_network
from torch import Tensor

from hiera_dense.errors import CheckpointError
from hiera_dense.model.hiera import Hiera
from hiera_dense.weights.load import fill

SMALL = small_network(8, (1, 1, 1, 1))
WEIGHTS = {name: tensor.clone() for name, tensor in Hiera(SMALL).state_dict().items()}
NAMES = sorted(WEIGHTS)
State = dict[str, Any]
FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
OTHERS = (
    torch.int8,
    torch.int64,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)
VALUES = (float("nan"), float("inf"), 1e300, 1e38, 0.0)

pytestmark = pytest.mark.slow


def _retyped(state: State, name: str, draw: Callable[..., Any]) -> None:
    state[name] = state[name].to(draw(st.sampled_from(FLOATING + OTHERS)))


def _all_retyped(state: State, name: str, draw: Callable[..., Any]) -> None:
    dtype = draw(st.sampled_from(FLOATING + OTHERS))
    for each, tensor in state.items():
        state[each] = tensor.to(dtype) if isinstance(tensor, Tensor) else tensor


def _valued(state: State, name: str, draw: Callable[..., Any]) -> None:
    value = torch.full_like(state[name], 0.5, dtype=torch.float64)
    value.view(-1)[draw(st.integers(0, value.numel() - 1))] = draw(st.sampled_from(VALUES))
    state[name] = value


def _reshaped(state: State, name: str, draw: Callable[..., Any]) -> None:
    state[name] = torch.zeros(draw(st.lists(st.integers(0, 9), max_size=5)))


def _of_another_layout(state: State, name: str, draw: Callable[..., Any]) -> None:
    make = draw(
        st.sampled_from(
            (
                Tensor.to_sparse,
                lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
                lambda tensor: tensor.to("meta"),
                lambda tensor: torch.zeros(1).expand(tensor.shape),
                lambda tensor: tensor.mT if tensor.ndim > 1 else tensor.flip(0),
                lambda tensor: (
                    tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
                ),
            )
        )
    )
    state[name] = make(state[name])


def _dropped(state: State, name: str, draw: Callable[..., Any]) -> None:
    del state[name]


def _renamed(state: State, name: str, draw: Callable[..., Any]) -> None:
    state[draw(st.text(max_size=20))] = state.pop(name)


def _replaced(state: State, name: str, draw: Callable[..., Any]) -> None:
    state[name] = draw(st.one_of(st.none(), st.text(), st.integers(), st.lists(st.none())))


def _joined(state: State, name: str, draw: Callable[..., Any]) -> None:
    state[draw(st.sampled_from((f"module.{name}", "optimizer", "", name[1:])))] = torch.ones(2)


CHANGES = (
    _retyped,
    _all_retyped,
    _valued,
    _reshaped,
    _of_another_layout,
    _dropped,
    _renamed,
    _replaced,
    _joined,
)
KEYS = ("model_state", "state_dict", "model", "ema", "state_dict_ema", "model_ema", "module", "x")
PREFIXES = ("", "module.", "backbone.trunk.", "ema_model.module.")


@st.composite
def checkpoints(draw: Callable[..., Any]) -> tuple[State, bytes, bool]:
    """Tensors, the file that holds them, and whether bytes of it were changed."""
    state: State = dict(WEIGHTS)
    for change in draw(st.lists(st.sampled_from(CHANGES), max_size=2)):
        if left := [name for name in NAMES if isinstance(state.get(name), Tensor)]:
            name = draw(st.sampled_from(left))
            try:
                change(state, name, draw)
            except (RuntimeError, NotImplementedError):  # such a tensor cannot be made of this one
                continue
    prefix = draw(st.sampled_from(PREFIXES))
    content: State = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=2)):
        content = {key: content, **draw(st.sampled_from(({}, {"epoch": 3}, {"averaged": WEIGHTS})))}
    file = _written(content, draw(st.sampled_from(("zip", "legacy", "safetensors"))))
    damaged = draw(st.booleans()) and draw(st.booleans())
    if damaged:
        at = draw(st.integers(0, len(file) - 1))
        new = draw(st.binary(min_size=0, max_size=8))
        file = file[:at] + new + file[at + len(new) + draw(st.integers(0, 3)) :]
    return state, file, damaged


def _written(content: State, form: str) -> bytes:
    if form == "safetensors":
        try:
            return to_safetensors(content)
        except Exception:  # not all of them go into it
            form = "zip"
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=form == "zip")
    return buffer.getvalue()


@settings(
    max_examples=1500,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(made=checkpoints())
def test_it_is_loaded_whole_or_refused_by_name(
    made: tuple[State, bytes, bool], tmp_path: Path
) -> None:
    state, file, damaged = made
    path = tmp_path / "weights.pth"
    path.write_bytes(file)
    trunk = Hiera(SMALL)
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    refusal = _refusal(trunk, path)
    filled = trunk.state_dict()
    if refusal is not None:
        assert str(path) in refusal
        assert all(torch.equal(filled[name], before[name]) for name in before)
        return
    assert all(tensor.isfinite().all() for tensor in filled.values())
    if not damaged:
        assert all(state[name].dtype in FLOATING for name in filled)
        assert all(torch.equal(filled[name], state[name].float()) for name in filled)


def _refusal(trunk: Hiera, path: Path) -> str | None:
    """Why weights were not loaded; None: they were."""
    try:
        fill(trunk, path)
    except CheckpointError as error:
        return str(error)
    return None
