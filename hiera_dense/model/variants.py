"""The published architectures, a row each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from hiera_dense.errors import SetupError
from hiera_dense.model.arch import AUTO, Arch, PosEmbed, Size, WindowSpec, require_known


def _sam2(
    embed_dim: int,
    num_heads: int,
    stages: Size,
    global_att_blocks: Size,
    window_spec: Size = (8, 4, 14, 7),
    table_size: Size = (7, 7),
) -> Arch:
    pos_embed = PosEmbed("absolute_win", table_size)
    return Arch(embed_dim, num_heads, stages, window_spec, global_att_blocks, pos_embed)


def _clips(embed_dim: int, num_heads: int, stages: Size) -> Arch:
    return Arch(
        embed_dim,
        num_heads,
        stages,
        pos_embed=PosEmbed("separable"),
        patch_kernel=(3, 7, 7),
        patch_stride=(2, 4, 4),
        patch_padding=(1, 3, 3),
        mask_unit=(1, 8, 8),
        q_stride=(1, 2, 2),
    )


ARCHS: Mapping[str, Arch] = {
    # Hiera (Ryali et al., ICML 2023, table 2).
    "tiny": Arch(96, 1, (1, 2, 7, 2)),
    "small": Arch(96, 1, (1, 2, 11, 2)),
    "base": Arch(96, 1, (2, 3, 16, 3)),
    "base_plus": Arch(112, 2, (2, 3, 16, 3)),
    "large": Arch(144, 2, (2, 6, 36, 4)),
    "huge": Arch(256, 4, (2, 6, 36, 4)),
    # Clips of 16 frames (facebookresearch/hiera, `hiera.py`).
    "base_16x224": _clips(96, 1, (2, 3, 16, 3)),
    "base_plus_16x224": _clips(112, 2, (2, 3, 16, 3)),
    "large_16x224": _clips(144, 2, (2, 6, 36, 4)),
    "huge_16x224": _clips(256, 4, (2, 6, 36, 4)),
    # Absolute win, layer scale, max and mean as the shortcut (timm, `hiera.py`).
    "small_abswin": Arch(
        96,
        1,
        (1, 2, 11, 2),
        pos_embed=PosEmbed("absolute_win", (16, 16), antialias=True),
        layer_scale=1e-5,
        expand_proj=False,
    ),
    # The trunks of SAM 2 and 2.1 (Ravi et al., 2024; facebookresearch/sam2, `configs/`).
    "sam2_tiny": _sam2(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "sam2_small": _sam2(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "sam2_base_plus": _sam2(112, 2, (2, 3, 16, 3), (12, 16, 20), table_size=(14, 14)),
    "sam2_large": _sam2(144, 2, (2, 6, 36, 4), (23, 33, 43), window_spec=(8, 4, 16, 8)),
}


def resolve(
    arch: str | Mapping[str, Any],
    window_spec: WindowSpec | None = None,
    global_att_blocks: Sequence[int] | None = None,
    pos_embed: Mapping[str, Any] | None = None,
    rel_pos: Size | None = None,
) -> Arch:
    """An architecture from its name or its fields, with overrides.

    Args:
        arch: A name in `ARCHS`, or the fields of an `Arch` (`pos_embed` as the fields of a
            `PosEmbed`).
        window_spec: Instead of the architecture's own.
        global_att_blocks: Instead of the architecture's own. None, with window_spec 'auto' and an
            architecture that has none: the last block of the last stage but one.
        pos_embed: Fields of a `PosEmbed`, None = the architecture's own. With another kind than the
            architecture's, the others start from that kind's defaults.
        rel_pos: Instead of the architecture's own.

    Raises:
        SetupError: A name or field is unknown, or values do not fit each other.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            near = get_close_matches(arch, ARCHS) or ARCHS
            raise SetupError(f"unknown arch {arch!r}; expected {', '.join(near)}, or a dict")
        resolved = ARCHS[arch]
    elif not isinstance(arch, Mapping):
        raise SetupError(f"arch {arch!r}; expected a name, such as 'base', or a dict of fields")
    else:
        require_known("arch", arch, Arch)
        own = arch.get("pos_embed") or {}
        require_known("pos_embed", own, PosEmbed)
        resolved = Arch(**{**arch, "pos_embed": PosEmbed(**own)})
    changes: dict[str, Any] = {}
    if window_spec is not None:
        changes["window_spec"] = window_spec
        if window_spec == AUTO and not resolved.global_att_blocks:
            changes["global_att_blocks"] = resolved.stage_ends[-2:-1]
    if global_att_blocks is not None:
        changes["global_att_blocks"] = global_att_blocks
    if pos_embed is not None:
        require_known("pos_embed", pos_embed, PosEmbed)
        same = pos_embed.get("kind") in (None, resolved.pos_embed.kind)
        given = {key: value for key, value in pos_embed.items() if value is not None}
        changes["pos_embed"] = replace(resolved.pos_embed, **given) if same else PosEmbed(**given)
    if rel_pos is not None:
        changes["rel_pos"] = rel_pos
    return replace(resolved, **changes)
