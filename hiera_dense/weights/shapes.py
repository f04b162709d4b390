"""What the shapes of a trunk's weights, under our names, tell about its architecture."""

import math
import re
from itertools import groupby
from typing import Any

from torch import Tensor

from hiera_dense.errors import CheckpointError
from hiera_dense.model.arch import Arch
from hiera_dense.model.variants import ARCHS

State = dict[str, Tensor]

PATCHES = "patch_embed.proj.weight"
RELATIVE = r"blocks\.(\d+)\.attn\.rel_pos_[hw]"
_NORM2 = r"blocks\.(\d+)\.norm2\.weight"


def stages_of(trunk: State) -> tuple[int, ...]:
    """Blocks per stage, from the widths of the blocks."""
    norms = {int(m[1]): trunk[n] for n in trunk if (m := re.fullmatch(_NORM2, n))}
    widths = [norms[i].numel() for i in sorted(norms)]
    return tuple(len(list(group)) for _, group in groupby(widths))


def tables_of(trunk: State) -> dict[str, tuple[int, ...]]:
    """The shapes of the position tables."""
    return {n: tuple(table.shape) for n, table in trunk.items() if n.startswith("pos_embed")}


def _is_scaled(trunk: State) -> bool:
    """Whether blocks have layer scale."""
    return any(".ls1." in name for name in trunk)


def _expands(trunk: State) -> bool:
    """Whether blocks that widen have a linear shortcut."""
    return any(re.fullmatch(r"blocks\.\d+\.proj\.weight", name) for name in trunk)


def relative_of(trunk: State) -> dict[str, Any]:
    """Fields of an `Arch` that has tables of relative position where these weights have them.

    Images of several sizes give the same tables; it is the one that is a multiple of all strides.
    """
    tables: dict[int, list[tuple[int, ...]]] = {}
    for name in sorted(n for n in trunk if re.fullmatch(RELATIVE, n)):
        tables.setdefault(int(name.split(".")[1]), []).append(tuple(trunk[name].shape))
    stages, dim = stages_of(trunk), trunk[PATCHES].shape[0] if trunk[PATCHES].ndim else 0
    whole = tables and max(tables) < sum(stages) and trunk[PATCHES].ndim == 4
    if not whole or any(
        len(pair) != 2 or any(len(shape) != 2 or dim % max(shape[1], 1) for shape in pair)
        for pair in tables.values()
    ):
        return {}  # none that a trunk has
    first = min(tables)
    pools = sum(sum(stages[:stage]) < first for stage in range(1, len(stages)))
    return dict(
        num_heads=dim // tables[first][0][1],
        window_spec=(2,) * len(stages),
        global_att_blocks=tuple(sorted(tables)),
        q_stride=(2, 2),
        rel_pos=tuple((length + 1) // 2 * 2**pools for length, _ in tables[first]),
    )


def arch_of(trunk: State) -> dict[str, Any]:
    """Fields of an `Arch` whose trunk has the shapes of these weights.

    Shapes do not determine heads, windows and strides; these are arbitrary.
    """
    patches, tables = trunk[PATCHES], tables_of(trunk)
    axes = patches.ndim - 2
    if not 2 <= axes <= 3:
        raise CheckpointError(f"{PATCHES} of shape {tuple(patches.shape)}; expected 4 or 5 axes")
    ones = (1,) * (axes - 1)
    kind, size = "absolute", (tables.get("pos_embed", (1, 1, 1))[1], *ones)
    unit = (*ones, 1)
    extras: dict[str, Any] = {}
    if "pos_embed_window" in tables:
        kind, size = "absolute_win", tables.get("pos_embed", (1, 1, *ones, 1))[2:]
        unit = tables["pos_embed_window"][2:]
    elif "pos_embed_spatial" in tables:
        temporal = tables.get("pos_embed_temporal", (1, 1, 1))[1]
        kind, size = "separable", (temporal, tables["pos_embed_spatial"][1], 1)
    elif "pos_embed_global" in tables:
        extras = dict(resize="tile", global_size=tables["pos_embed_global"][2:])
    fields = dict(
        embed_dim=len(patches),
        num_heads=1,
        stages=stages_of(trunk),
        window_spec=(0,) * len(stages_of(trunk)),
        pos_embed=dict(kind=kind, size=size, **extras),
        layer_scale=1.0 if _is_scaled(trunk) else None,
        expand_proj=_expands(trunk),
        patch_kernel=tuple(patches.shape[2:]),
        patch_stride=(1,) * axes,
        patch_padding=(0,) * axes,
        mask_unit=unit,
        q_stride=(1,) * axes,
    )
    return fields | relative_of(trunk)


def fitting_archs(trunk: State) -> list[str]:
    """The names in `ARCHS` whose weights have the shapes of these."""
    traits = (
        trunk[PATCHES].shape[:1] + trunk[PATCHES].shape[2:],
        stages_of(trunk),
        tables_of(trunk),
        _is_scaled(trunk),
        _expands(trunk),
    )
    return [name for name, arch in ARCHS.items() if traits == _traits_of(arch)]


def _traits_of(arch: Arch) -> tuple[Any, ...]:
    size, dim = arch.pos_embed.table_size, arch.embed_dim
    tables: dict[str, dict[str, tuple[int, ...]]] = {
        "absolute": {"pos_embed": (1, math.prod(size), dim)},
        "absolute_win": {
            "pos_embed": (1, dim, *size),
            "pos_embed_window": (1, dim, *arch.mask_unit),
        },
        "separable": {
            "pos_embed_spatial": (1, math.prod(size[1:]), dim),
            "pos_embed_temporal": (1, size[0], dim),
        },
    }
    own, scaled = tables[arch.pos_embed.kind], arch.layer_scale is not None
    return ((dim, *arch.patch_kernel), arch.stages, own, scaled, arch.expand_proj)
