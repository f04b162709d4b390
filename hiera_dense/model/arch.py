"""What an architecture is: the fields of one, and which values fit each other."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from hiera_dense.errors import SetupError
from hiera_dense.model.checks import (
    is_int,
    require_bool,
    require_heads,
    require_int,
    require_ints,
    require_share,
)

Size = tuple[int, ...]
Spec = Sequence[int | Sequence[int]]
WindowSpec = Spec | str
AUTO = "auto"

_TABLE_SIZES: Mapping[str, Size] = {
    "absolute": (56, 56),
    "absolute_win": (7, 7),
    "separable": (8, 56, 56),
}
_RESIZES = ("window_aware", "tile", "interpolate")


def require_known(what: str, given: Mapping[str, Any], cls: type) -> None:
    """Compare the keys of a dict with the fields of a dataclass.

    Raises:
        SetupError: It is no dict, a key is no field, or a field without a default is missing.
    """
    known = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(cls)}
    if not isinstance(given, Mapping):
        raise SetupError(f"{what} {given!r}; expected a dict with some of {', '.join(known)}")
    if unknown := sorted(set(given) - set(known)):
        raise SetupError(f"unknown {what} field {', '.join(unknown)}; expected {', '.join(known)}")
    if missing := [name for name, needed in known.items() if needed and name not in given]:
        raise SetupError(f"{what} {dict(given)}; expected {', '.join(missing)} too")


def _make_tuples(instance: Any) -> None:
    """Replace lists in the fields of a dataclass: configs give them where a tuple is meant."""

    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value

    for f in fields(instance):
        object.__setattr__(instance, f.name, tuples(getattr(instance, f.name)))


@dataclass(frozen=True)
class PosEmbed:
    """The position embedding of an architecture.

    Attributes:
        kind: `absolute` (one table), `absolute_win` (a global part, and a part that repeats in
            every mask unit) or `separable` (one table over the image, one over time).
        size: Tokens per axis of the table, or of its global part. None: as published for most
            weights of the kind.
        antialias: Which bicubic interpolation: `pos_embed.interpolate`.
        resize: How a table is resized to another grid: `window_aware`, `tile` or `interpolate`
            (`pos_embed.resize`). An `absolute_win` table allows `window_aware` only.
        global_size: With `tile`: tokens per axis of a part that follows the image, which starts at
            zero. None: no such part.
    """

    kind: str = "absolute"
    size: Size | None = None
    antialias: bool = False
    resize: str = "window_aware"
    global_size: Size | None = None

    def __post_init__(self) -> None:
        _make_tuples(self)
        for name, known in (("kind", tuple(_TABLE_SIZES)), ("resize", _RESIZES)):
            if (value := getattr(self, name)) not in known:
                raise SetupError(f"unknown pos_embed {name} {value!r}; expected {', '.join(known)}")
        if self.kind == "absolute_win" and self.resize != "window_aware":
            raise SetupError(
                f"pos_embed resize {self.resize!r} with kind 'absolute_win'; expected "
                "'window_aware': its global part is interpolated, its window part repeats"
            )
        if self.global_size and (self.kind, self.resize) != ("absolute", "tile"):
            raise SetupError(
                f"pos_embed global_size {self.global_size} with kind {self.kind!r} and "
                f"resize {self.resize!r}; expected kind 'absolute' and resize 'tile'"
            )
        require_bool("pos_embed antialias", self.antialias)
        for name in ("size", "global_size"):
            if (value := getattr(self, name)) is not None:
                require_ints(f"pos_embed {name}", value, 1)

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
            global attention. An int on a clip means (1, w, w). Or `auto`, for images: windows are
            chosen for each image size (`plan.windows_for`).
        global_att_blocks: Indices of additional blocks with global attention.
        pos_embed: Position embedding.
        layer_scale: Initial value of the learned factor on each branch of a block; None: none.
        expand_proj: Whether the shortcut of a block that widens is a linear layer; if not, it is
            the max and the mean of each pooled cell, concatenated.
        patch_kernel, patch_stride, patch_padding: Of the patch embedding, in pixels.
        mask_unit: Tokens per axis of a mask unit, the smallest part of an image that can be masked.
        q_stride: Tokens per axis that q-pooling merges into one.
        q_pool: How many stages begin with q-pooling, from the second on; None: all that follow.
        rel_pos: Size, in tokens, of the image that the relative-position tables of the global
            blocks are built for (`relative`). None: no such tables.

    Raises:
        SetupError: Values that do not fit each other.
    """

    embed_dim: int
    num_heads: int
    stages: Sequence[int]
    window_spec: WindowSpec = (8, 4, 0, 0)
    global_att_blocks: Sequence[int] = ()
    pos_embed: PosEmbed = field(default_factory=PosEmbed)
    layer_scale: float | None = None
    expand_proj: bool = True
    patch_kernel: Size = (7, 7)
    patch_stride: Size = (4, 4)
    patch_padding: Size = (3, 3)
    mask_unit: Size = (8, 8)
    q_stride: Size = (2, 2)
    q_pool: int | None = None
    rel_pos: Size | None = None

    def __post_init__(self) -> None:
        _make_tuples(self)
        self._check_types()
        if isinstance(self.window_spec, str):
            if self.window_spec != AUTO or len(self.mask_unit) != 2:
                axes = len(self.mask_unit)
                raise SetupError(
                    f"window_spec {self.window_spec!r} of an arch of {axes} axes; expected "
                    "'auto', of 2 axes, or one entry for each stage"
                )
        elif len(self.window_spec) != len(self.stages):
            raise SetupError(
                f"window_spec {tuple(self.window_spec)} has {len(self.window_spec)} entries; "
                f"expected one for each of the {len(self.stages)} stages"
            )
        last = len(self.stages) - 1
        if self.q_pool is not None and not (is_int(self.q_pool, 0) and self.q_pool <= last):
            raise SetupError(f"q_pool {self.q_pool!r}; expected 0 to {last}, or None")
        depth = sum(self.stages)
        if outside := [i for i in self.global_att_blocks if i >= depth]:
            raise SetupError(
                f"global_att_blocks {outside} out of range; expected some of 0 to {depth - 1}"
            )
        self._check_windows()
        self._check_table()
        self._check_rel_pos()

    def _check_types(self) -> None:
        for name in ("embed_dim", "num_heads"):
            require_int(name, getattr(self, name), 1)
        require_heads("num_heads", self.embed_dim, self.num_heads)
        require_ints("stages", self.stages, 1)
        if not self.stages:
            raise SetupError("stages (); expected the number of blocks of one stage or more")
        if not isinstance(self.window_spec, str | Sequence):
            raise SetupError(
                f"window_spec {self.window_spec!r}; expected 'auto', or a tuple with an entry for "
                f"each of the {len(self.stages)} stages"
            )
        require_ints("global_att_blocks", self.global_att_blocks, 0)
        if not isinstance(self.pos_embed, PosEmbed):
            raise SetupError(f"pos_embed {self.pos_embed!r}; expected a PosEmbed")
        if self.layer_scale is not None:
            require_share("layer_scale", self.layer_scale)
        require_bool("expand_proj", self.expand_proj)
        require_ints("mask_unit", self.mask_unit, 1)
        axes = len(self.mask_unit)
        if axes not in (2, 3):
            raise SetupError(f"mask_unit {self.mask_unit}; expected 2 axes, or 3 of clips")
        for name, least in (("patch_kernel", 1), ("patch_stride", 1), ("q_stride", 1)):
            require_ints(name, getattr(self, name), least, axes)
        require_ints("patch_padding", self.patch_padding, 0, axes)

    def _check_windows(self) -> None:
        if isinstance(self.window_spec, str):
            return
        for entry in self.window_spec:
            self.window_of(entry)
        windows = self.block_windows(self.window_spec)
        for i in self.q_pool_blocks:
            window = windows[i]
            if window and any(w % s for w, s in zip(window, self.q_stride, strict=True)):
                raise SetupError(
                    f"window {window} of block {i}, from window_spec {tuple(self.window_spec)}, is "
                    f"pooled by {self.q_stride}; its sides must be multiples of that"
                )

    def _check_table(self) -> None:
        size, unit = self.pos_embed.table_size, self.mask_unit
        if len(size) != len(unit):
            raise SetupError(
                f"pos_embed of kind {self.pos_embed.kind!r} and size {size}, mask_unit {unit}; "
                "expected as many axes"
            )
        splits = self.pos_embed.kind != "absolute_win" and self.pos_embed.resize == "window_aware"
        if splits and any(n % u for n, u in zip(size, unit, strict=True)):
            raise SetupError(
                f"pos_embed size {size} with resize 'window_aware'; expected multiples of the mask "
                f"unit {unit}, or another resize"
            )

    def _check_rel_pos(self) -> None:
        if (size := self.rel_pos) is None:
            return
        if (axes := len(self.mask_unit)) != 2:
            raise SetupError(f"rel_pos {size} of an arch of {axes} axes; expected None, or 2 axes")
        if not isinstance(size, tuple) or len(size) != 2 or not all(is_int(n, 1) for n in size):
            raise SetupError(
                f"rel_pos {size}; expected tokens per axis of an image after the patch embedding, "
                "such as (256, 256)"
            )
        if not self.global_blocks:
            raise SetupError(
                f"rel_pos {size}, but window_spec {self.window_spec} and global_att_blocks "
                f"{self.global_att_blocks} mean no global block; expected one or more, or no "
                "rel_pos"
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
    def widening_blocks(self) -> Size:
        """Indices of the blocks that widen: the first of every stage but the first."""
        return tuple(end + 1 for end in self.stage_ends[:-1])

    @property
    def q_pool_blocks(self) -> Size:
        """Indices of the blocks that pool: the first `q_pool` of those that widen."""
        return self.widening_blocks[: self.q_pool]

    def block_windows(self, window_spec: Spec) -> tuple[Size | None, ...]:
        """Tokens per window and axis of every block, before it pools; None for global attention.

        The first block of a stage still has the window of the stage before.

        Args:
            window_spec: The arch's own, or what `auto` stands for.
        """
        lagged = (0, *self.block_stages[:-1])
        return tuple(
            None if i in self.global_att_blocks else self.window_of(window_spec[stage])
            for i, stage in enumerate(lagged)
        )

    @property
    def global_blocks(self) -> Size:
        """Indices of the blocks with global attention, whatever the size of an image."""
        if isinstance(self.window_spec, str):
            return tuple(self.global_att_blocks)
        windows = self.block_windows(self.window_spec)
        return tuple(i for i, window in enumerate(windows) if window is None)

    @property
    def rel_pos_sizes(self) -> tuple[Size | None, ...]:
        """Tokens per axis that the tables of each block are laid out for; None: it has none.

        In a block that pools, these are its keys.
        """
        blocks = range(sum(self.stages))
        if (grid := self.rel_pos) is None:
            return (None,) * len(blocks)
        global_blocks, q_pool_blocks = self.global_blocks, self.q_pool_blocks
        sizes = []
        for i in blocks:
            sizes.append(grid if i in global_blocks else None)
            if i in q_pool_blocks:
                grid = tuple(-(-n // s) for n, s in zip(grid, self.q_stride, strict=True))
        return tuple(sizes)

    def window_of(self, entry: int | Sequence[int]) -> Size | None:
        """Tokens per window and axis that an entry of a window_spec means; None: global."""
        if is_int(entry, 0) and entry == 0:
            return None
        dims = len(self.mask_unit)
        window = tuple(entry) if isinstance(entry, Sequence) else (1,) * (dims - 2) + (entry,) * 2
        if len(window) != dims or not all(is_int(side, 1) for side in window):
            expected = f"0 (global), a positive int, or {dims} of these"
            raise SetupError(f"window_spec entry {entry!r}; expected {expected}")
        return window
