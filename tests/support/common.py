"""The root of the repository, small networks, and how results are compared."""

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hiera_dense.model.variants import ARCHS

ROOT = Path(__file__).parents[2]


class Runs:
    """A pickle of it makes a file when it is loaded unsafely."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def shallow(name: str) -> dict[str, Any]:
    """An arch with its own widths and windows, but few blocks; some global where it has any."""
    arch = ARCHS[name]
    blocks = (4,) if arch.global_att_blocks else ()
    return asdict(replace(arch, stages=(1, 2, 3, 2), global_att_blocks=blocks))


def relative_error(result: Tensor, expected: Tensor) -> float:
    """Largest absolute difference, as a share of the largest expected value."""
    assert result.shape == expected.shape
    assert result.isfinite().all()
    assert expected.isfinite().all()
    return ((result - expected).abs().max() / expected.abs().max()).item()


def randomize(module: torch.nn.Module) -> None:
    """Random values for every parameter, so that no bias, norm or table is left out of a test."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, param in module.named_parameters():
            matrix = param.ndim > 1 and "pos_embed" not in name
            scale = 0.5 / param[0].numel() ** 0.5 if matrix else 0.3
            noise = torch.randn(param.shape, generator=generator, dtype=param.dtype)
            param.copy_(noise * scale + (param.ndim == 1) * 0.5)


def small_network(
    embed_dim: int = 8, stages: tuple[int, ...] = (1, 1, 2, 1), **fields: Any
) -> dict[str, Any]:
    """Fields of an arch with one head in its first stage, and few blocks."""
    return dict(embed_dim=embed_dim, num_heads=1, stages=stages, **fields)
