"""The published architectures. To add a variant, add a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

Size = tuple[int, ...]

_TABLE_SIZES: Mapping[str, Size] = {"absolute": (56, 56), "absolute_win": (7, 7)}


def _require_known(what: str, given: Mapping[str, Any], cls: type) -> None:
    known = [f.name for f in fields(cls)]
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"unknown {what} field {', '.join(unknown)}; known: {', '.join(known)}")


@dataclass(frozen=True)
class PosEmbed:
    """The position embedding of an architecture.

    Attributes:
        kind: `absolute` (one table) or `absolute_win` (a global part, and a part that repeats in
            every mask unit).
        size: Tokens per axis of the table, or of its global part. None: as published for most
            weights of the kind.
        antialias: Whether a table is low-pass filtered when it becomes smaller.
    """

    kind: str = "absolute"
    size: Size | None = None
    antialias: bool = False

    def __post_init__(self) -> None:
        if self.kind not in _TABLE_SIZES:
            known = ", ".join(_TABLE_SIZES)
            raise ValueError(f"unknown pos_embed kind {self.kind!r}; known: {known}")

    @property
    def table_size(self) -> Size:
        """Tokens per axis of the table, or of its global part."""
        return tuple(self.size or _TABLE_SIZES[self.kind])


@dataclass(frozen=True)
class Arch:
    """An architecture.

    Attributes:
        embed_dim: Channels of the first stage; every stage doubles them.
        num_heads: Attention heads of the first stage; every stage doubles them.
        stages: Blocks per stage.
        window_spec: Tokens per window side, one entry per stage: an int, one int per axis, or 0 for
            global attention. An int on a clip means (1, w, w).
        global_att_blocks: Indices of blocks with global attention besides.
        pos_embed: Position embedding.
        patch_kernel, patch_stride, patch_padding: Of the patch embedding, in pixels.
        mask_unit: Tokens per axis of a mask unit, the smallest part of an image that can be masked.
        q_stride: Tokens per axis that q-pooling merges into one.

    Raises:
        ValueError: Values that do not fit each other.
    """

    embed_dim: int
    num_heads: int
    stages: Sequence[int]
    window_spec: Sequence[int | Sequence[int]] = (8, 4, 0, 0)
    global_att_blocks: Sequence[int] = ()
    pos_embed: PosEmbed = field(default_factory=PosEmbed)
    patch_kernel: Size = (7, 7)
    patch_stride: Size = (4, 4)
    patch_padding: Size = (3, 3)
    mask_unit: Size = (8, 8)
    q_stride: Size = (2, 2)

    def __post_init__(self) -> None:
        for f in fields(self):  # configs give lists where a tuple is meant
            if isinstance(value := getattr(self, f.name), list):
                object.__setattr__(self, f.name, tuple(value))
        if len(self.window_spec) != len(self.stages):
            raise ValueError(
                f"window_spec {tuple(self.window_spec)} has {len(self.window_spec)} entries; "
                f"expected one for each of the {len(self.stages)} stages"
            )
        depth = sum(self.stages)
        if outside := [i for i in self.global_att_blocks if not 0 <= i < depth]:
            raise ValueError(
                f"global_att_blocks {outside} out of range; blocks are 0 to {depth - 1}"
            )
        windows = self.block_windows
        for i in self.q_pool_blocks:
            window = windows[i]
            if window and any(w % s for w, s in zip(window, self.q_stride, strict=True)):
                raise ValueError(
                    f"window {window} of block {i}, from window_spec {tuple(self.window_spec)}, is "
                    f"pooled by {self.q_stride}; its sides must be multiples of that"
                )

    @property
    def dims(self) -> Size:
        """Channels of each stage."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.stages)))

    @property
    def stage_ends(self) -> Size:
        """Index of the last block of each stage."""
        return tuple(sum(self.stages[: stage + 1]) - 1 for stage in range(len(self.stages)))

    @property
    def block_stages(self) -> Size:
        """The stage that each block belongs to."""
        return tuple(stage for stage, blocks in enumerate(self.stages) for _ in range(blocks))

    @property
    def q_pool_blocks(self) -> Size:
        """Indices of the blocks that pool: the first of every stage but the first."""
        return tuple(end + 1 for end in self.stage_ends[:-1])

    @property
    def block_windows(self) -> tuple[Size | None, ...]:
        """Tokens per window and axis of every block, before it pools; None for global attention.

        The first block of a stage still has the window of the stage before.
        """
        lagged = (0, *self.block_stages[:-1])
        return tuple(
            None if i in self.global_att_blocks else self._window(self.window_spec[stage])
            for i, stage in enumerate(lagged)
        )

    def _window(self, entry: int | Sequence[int]) -> Size | None:
        if entry == 0:
            return None
        dims = len(self.mask_unit)
        window = (1,) * (dims - 2) + (entry,) * 2 if isinstance(entry, int) else tuple(entry)
        if len(window) != dims or min(window) < 1:
            expected = f"0 (global), a positive int, or {dims} of these"
            raise ValueError(f"window_spec entry {entry!r}; expected {expected}")
        return window


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


ARCHS: Mapping[str, Arch] = {
    # Hiera (Ryali et al., ICML 2023, table 2).
    "tiny": Arch(96, 1, (1, 2, 7, 2)),
    "small": Arch(96, 1, (1, 2, 11, 2)),
    "base": Arch(96, 1, (2, 3, 16, 3)),
    "base_plus": Arch(112, 2, (2, 3, 16, 3)),
    "large": Arch(144, 2, (2, 6, 36, 4)),
    "huge": Arch(256, 4, (2, 6, 36, 4)),
    # The trunks of SAM 2 and 2.1 (Ravi et al., 2024; facebookresearch/sam2, `configs/`).
    "sam2_tiny": _sam2(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "sam2_small": _sam2(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "sam2_base_plus": _sam2(112, 2, (2, 3, 16, 3), (12, 16, 20), table_size=(14, 14)),
    "sam2_large": _sam2(144, 2, (2, 6, 36, 4), (23, 33, 43), window_spec=(8, 4, 16, 8)),
}


def resolve(
    arch: str | Mapping[str, Any],
    window_spec: Sequence[int | Sequence[int]] | None = None,
    global_att_blocks: Sequence[int] | None = None,
    pos_embed: Mapping[str, Any] | None = None,
) -> Arch:
    """An architecture from its name or its fields, with overrides.

    Args:
        arch: A name in `ARCHS`, or the fields of an `Arch` (`pos_embed` as the fields of a
            `PosEmbed`).
        window_spec: Instead of the architecture's own.
        global_att_blocks: Instead of the architecture's own.
        pos_embed: Fields of a `PosEmbed`, None = the architecture's own. With another kind than the
            architecture's, the others start from that kind's defaults.

    Raises:
        ValueError: A name or field is unknown, or values do not fit each other.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f"unknown arch {arch!r}; known: {', '.join(ARCHS)}")
        resolved = ARCHS[arch]
    else:
        _require_known("arch", arch, Arch)
        own = arch.get("pos_embed", {})
        _require_known("pos_embed", own, PosEmbed)
        resolved = Arch(**{**arch, "pos_embed": PosEmbed(**own)})
    changes: dict[str, Any] = {}
    if window_spec is not None:
        changes["window_spec"] = window_spec
    if global_att_blocks is not None:
        changes["global_att_blocks"] = global_att_blocks
    if pos_embed is not None:
        _require_known("pos_embed", pos_embed, PosEmbed)
        same = pos_embed.get("kind") in (None, resolved.pos_embed.kind)
        given = {key: value for key, value in pos_embed.items() if value is not None}
        changes["pos_embed"] = replace(resolved.pos_embed, **given) if same else PosEmbed(**given)
    return replace(resolved, **changes)
