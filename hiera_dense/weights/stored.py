"""Which tensors of a file can be weights: real numbers, dense and finite."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hiera_dense.errors import CheckpointError, some

FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_EXPECTED = "expected float64, float32, float16 or bfloat16"


def require_dense(state: Mapping[str, Tensor]) -> None:
    """Look at the kinds of tensors; touches no values.

    Raises:
        CheckpointError: Some are no dense tensors of floating values: names them and their kinds.
    """
    bad = [f"{name} is {kind}" for name, tensor in state.items() if (kind := _other_kind(tensor))]
    if bad:
        raise CheckpointError(f"{some(bad)}; {_EXPECTED}, and dense")


def require_finite(state: Mapping[str, Tensor], own: Mapping[str, Tensor] | None = None) -> None:
    """Look at every value, as it is stored and as it will be.

    Args:
        state: Dense floating tensors by name.
        own: What they are to fill: float64 may hold what is too large for float32.

    Raises:
        CheckpointError: Some are NaN or infinite, or would be: names the tensors.
    """
    if bad := [name for name, tensor in state.items() if not is_finite(tensor)]:
        raise CheckpointError(f"NaN or infinity in {some(bad)}; expected finite weights")
    for name, tensor in state.items():
        dtype = own[name].dtype if own and name in own else tensor.dtype
        if dtype != tensor.dtype and not is_finite(tensor.to(dtype)):
            said = str(dtype).removeprefix("torch.")
            raise CheckpointError(f"values too large for {said} in {name}; expected smaller ones")


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor has each of its values, one after another."""
    return not tensor.is_nested and not tensor.is_quantized and tensor.layout == torch.strided


def is_finite(tensor: Tensor) -> bool:
    """Whether a dense tensor of floating values has no NaN and no infinity."""
    # The extremes, since they are found in one pass and keep a NaN.
    return not tensor.numel() or bool(torch.stack(tensor.aminmax()).isfinite().all())


def _other_kind(tensor: Tensor) -> str | None:
    """What a tensor is if it cannot be weights."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.is_quantized:
        return f"quantized ({dtype})"
    if tensor.layout != torch.strided:
        return f"sparse ({str(tensor.layout).removeprefix('torch.')})"
    return dtype if tensor.dtype not in FLOATING else None
