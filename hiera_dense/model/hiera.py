"""The Hiera trunk, for images of any size.

"Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles" (Ryali et al., ICML 2023;
facebookresearch/hiera). With `absolute_win` position embeddings, windows in all stages and a few
global blocks it is the trunk of SAM 2, after "Window Attention is Bugged" (Bolya et al., ICLR 2024;
facebookresearch/sam2).
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from timm.layers import LayerScale
from torch import Tensor, nn

from hiera_dense.errors import SetupError
from hiera_dense.model import pos_embed as positions
from hiera_dense.model.arch import AUTO, Arch, WindowSpec
from hiera_dense.model.checks import require_int, require_share
from hiera_dense.model.graphs import CompileOptions, Graph
from hiera_dense.model.hub_model import HubModel
from hiera_dense.model.layers import Attention, HieraBlock, PatchEmbed, Recompute
from hiera_dense.model.plan import Step, plan, windows_for
from hiera_dense.model.variants import resolve
from hiera_dense.model.windows import (
    Layout,
    Size,
    ceil_div,
    padding_mask,
    partition,
    relayout,
    rows_of,
    unpartition,
)

WithCp = bool | Sequence[int] | Literal["mlp"]


class Hiera(nn.Module, HubModel):
    """A Hiera trunk: features without a final norm, initialised when built.

    Args:
        arch: A name in `variants.ARCHS`, or the fields of an `arch.Arch`.
        in_channels: Channels of the image.
        window_spec: Tokens per window side, one entry per stage, 0 = global; or 'auto': stages 3
            and 4 get windows chosen for each image size (`plan.windows_for`). None: the arch's own.
        global_att_blocks: Indices of additional blocks with global attention. None: the arch's
            own; with 'auto', if it has none, the last block of the last stage but one.
        pos_embed: Fields of an `arch.PosEmbed`. None: the arch's own.
        drop_path_rate: Stochastic depth of the last block; grows linearly from 0 at the first.
        with_cp: Recompute activations in the backward pass, to save memory: True: of all blocks;
            stages, counted from 0: of their blocks; 'mlp': of the MLPs, which keep most.
        rel_pos: Size, in tokens, of the image that the relative-position tables of the global
            blocks are built for: (256, 256) for 1024 px. They start at zero, and images of other
            sizes work too. None: the arch's own; published archs have no such tables.
        compile: Run as one graph of torch.compile: True, or the arguments of `torch.compile`.

    Raises:
        SetupError: An unknown name or field, or values that do not fit each other.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any],
        in_channels: int = 3,
        window_spec: WindowSpec | None = None,
        global_att_blocks: Sequence[int] | None = None,
        pos_embed: Mapping[str, Any] | None = None,
        drop_path_rate: float = 0.0,
        with_cp: WithCp = False,
        rel_pos: Size | None = None,
        compile: CompileOptions = False,
    ) -> None:
        super().__init__()
        require_int("in_channels", in_channels, 1)
        require_share("drop_path_rate", drop_path_rate)
        self.arch: Arch = resolve(arch, window_spec, global_att_blocks, pos_embed, rel_pos)
        self.in_channels = in_channels
        self.stage_ends = self.arch.stage_ends
        a = self.arch
        self.patch_embed = PatchEmbed(
            in_channels, a.embed_dim, a.patch_kernel, a.patch_stride, a.patch_padding
        )
        self._build_pos_embed()
        self.blocks = nn.ModuleList(
            self._build_blocks(drop_path_rate, self._recompute_of_stages(with_cp))
        )
        self._maybe_compiled = Graph(compile)
        for module in self.modules():
            self.initialise(module)

    def _build_pos_embed(self) -> None:
        spec, dim = self.arch.pos_embed, self.arch.embed_dim
        size = spec.table_size
        if spec.kind == "absolute":
            self.pos_embed = nn.Parameter(torch.empty(1, math.prod(size), dim))
            if spec.global_size:
                self.pos_embed_global = nn.Parameter(torch.empty(1, dim, *spec.global_size))
        elif spec.kind == "absolute_win":
            self.pos_embed = nn.Parameter(torch.empty(1, dim, *size))
            self.pos_embed_window = nn.Parameter(torch.empty(1, dim, *self.arch.mask_unit))
        else:
            self.pos_embed_spatial = nn.Parameter(torch.empty(1, math.prod(size[1:]), dim))
            self.pos_embed_temporal = nn.Parameter(torch.empty(1, size[0], dim))
        self._tables = tuple(name for name, _ in self.named_parameters(recurse=False))

    def _recompute_of_stages(self, with_cp: WithCp) -> list[Recompute | None]:
        """What `with_cp` means for each stage."""
        stages = range(len(self.stage_ends))
        if with_cp == "mlp":
            return ["mlp" for _ in stages]
        chosen: Any = stages if with_cp is True else with_cp or ()
        is_sequence = isinstance(chosen, Sequence) and not isinstance(chosen, str)
        if not is_sequence or not all(stage in stages for stage in chosen):
            raise SetupError(
                f"with_cp {with_cp!r}; expected True, False, 'mlp', or some of {len(stages)} "
                "stages, counted from 0"
            )
        return ["block" if stage in chosen else None for stage in stages]

    def _build_blocks(
        self, drop_path_rate: float, recomputed: Sequence[Recompute | None]
    ) -> list[HieraBlock]:
        a = self.arch
        last = max(sum(a.stages) - 1, 1)
        return [
            HieraBlock(
                dim=a.dims[stage - 1] if i in a.widening_blocks else a.dims[stage],
                dim_out=a.dims[stage],
                num_heads=a.num_heads * 2**stage,
                q_stride=a.q_stride if i in a.q_pool_blocks else None,
                layer_scale=a.layer_scale,
                expand_proj=a.expand_proj,
                drop_path=drop_path_rate * i / last,
                recompute=recomputed[stage],
                rel_pos=rel_pos,
            )
            for i, (stage, rel_pos) in enumerate(zip(a.block_stages, a.rel_pos_sizes, strict=True))
        ]

    def initialise(self, module: nn.Module) -> None:
        """Initialise what one module of this trunk holds itself, not what its children hold.

        As facebookresearch/hiera does it: biases of 0.02, not 0. The original truncates at 100
        standard deviations, which has no effect; here nothing is truncated.

        Args:
            module: One of `modules()`, the trunk among them.
        """
        if module is self:
            for name, table in self.named_parameters(recurse=False):
                if name == "pos_embed_global":
                    nn.init.zeros_(table)
                else:
                    nn.init.normal_(table, std=0.02)
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        elif isinstance(module, LayerScale):
            nn.init.constant_(module.gamma, cast(float, self.arch.layer_scale))
        elif isinstance(module, Attention):
            for table in module.parameters(recurse=False):  # of relative position
                nn.init.zeros_(table)
        if isinstance(module, nn.Linear | nn.LayerNorm):
            nn.init.constant_(module.bias, 0.02)

    def position_embedding(self, grid: Size) -> Tensor:
        """The position embedding of a token grid, shape (1, *grid, C)."""
        spec, unit = self.arch.pos_embed, self.arch.mask_unit
        size = spec.table_size
        how = (spec.resize, spec.antialias)
        if spec.kind == "absolute":
            table = self.pos_embed.reshape(1, *size, -1)
            embedding = positions.resize(table, grid, unit, *how)
            if not spec.global_size:
                return embedding
            table = self.pos_embed_global.movedim(1, -1)
            return embedding + positions.interpolate(table, grid, spec.antialias)
        if spec.kind == "absolute_win":
            table = self.pos_embed.movedim(1, -1)
            window = self.pos_embed_window.movedim(1, -1)
            return positions.interpolate(table, grid, spec.antialias) + positions.tile(window, grid)
        spatial = self.pos_embed_spatial.reshape(1, *size[1:], -1)
        spatial = positions.resize(spatial, grid[1:], unit[1:], *how)
        temporal = positions.interpolate(self.pos_embed_temporal, grid[:1])
        return spatial[:, None] + temporal[:, :, None, None]

    def forward(
        self, x: Tensor, mask: Tensor | None = None, return_intermediates: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Compute features.

        Args:
            x: Images, shape (B, C_in, H, W), normalised; any H and W.
            mask: Bool, shape (B, units), True = keep: the mask units in row-major order, as many
                kept in each image. H and W must then be multiples of a mask unit (32 px).
            return_intermediates: Also return the features of every stage.

        Returns:
            The last features: without a mask (B, *grid, C) in spatial order; every stage but the
            first halves the grid, rounding up. With a mask (B, n_visible, *unit, C). With
            `return_intermediates`: (last, [one for each stage]).

        Raises:
            ValueError: The shape of the input or of the mask does not fit.
        """
        features = self._checked_features(x, mask)
        return (features[-1], features) if return_intermediates else features[-1]

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Features of some stages, with timm's signature.

        Args:
            x: Images, shape (B, C_in, H, W), normalised; any H and W.
            indices: Stages in any order, counted from 0, or from the end if negative; an int n: the
                last n stages; None: all.
            norm: Must be False: the trunk has no norm after a stage.
            stop_early: Do not compute the stages after the last requested one.
            output_fmt: `NCHW` or `NHWC`, of the features of the stages.
            intermediates_only: Leave the last features out.

        Returns:
            The last features that were computed, as `forward` gives them, and those of the stages,
            in the order of the network.

        Raises:
            ValueError: A value is none of these.
        """
        count = len(self.stage_ends)
        wanted = range(-indices, 0) if isinstance(indices, int) else indices
        chosen = range(count) if wanted is None else wanted
        taken = sorted({i + count if i < 0 else i for i in chosen})
        if not taken or not all(0 <= i < count for i in taken):
            raise ValueError(f"indices {indices}; expected some of 0 to {count - 1}")
        if norm:
            raise ValueError("norm=True; expected False, since a trunk has no norm after a stage")
        if output_fmt not in ("NCHW", "NHWC"):
            raise ValueError(f"output_fmt {output_fmt!r}; expected 'NCHW' or 'NHWC'")
        features = self._checked_features(x, last=max(taken) if stop_early else count - 1)
        maps = [features[i] for i in taken]
        if output_fmt == "NCHW":
            maps = [one.movedim(-1, 1) for one in maps]
        return maps if intermediates_only else (features[-1], maps)

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Of each stage its channels, stride in pixels and module, in timm's form."""
        arch = self.arch
        return [
            dict(
                num_chs=dim,
                reduction=arch.patch_stride[-1] * arch.q_stride[-1] ** len(pools),
                module=f"blocks.{end}",
            )
            for dim, end in zip(arch.dims, arch.stage_ends, strict=True)
            for pools in [[i for i in arch.q_pool_blocks if i <= end]]
        ]

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """The depth of a parameter, for layer-wise learning-rate decay; MMPretrain's signature.

        Args:
            param_name: The name of a parameter of this trunk, or of a model around it.
            prefix: What stands before the names of this trunk's own parameters.

        Returns:
            (depth, number of depths). Depth 0: patch and position embedding; n: block n - 1; the
            last: whatever does not belong to the trunk.
        """
        depths = len(self.blocks) + 2
        name = param_name.removeprefix(prefix) if param_name.startswith(prefix) else ""
        if match := re.match(r"blocks\.(\d+)\.", name):
            return int(match[1]) + 1, depths
        return (0 if name.startswith(("patch_embed.", "pos_embed")) else depths - 1), depths

    def no_weight_decay(self) -> set[str]:
        """Besides biases and norms: parameters without weight decay (for timm's optimizers)."""
        relative = {name for name, _ in self.named_parameters() if ".rel_pos_" in name}
        return {*self._tables, *relative}

    def _checked_features(
        self, x: Tensor, mask: Tensor | None = None, last: int | None = None
    ) -> list[Tensor]:
        """Check the input and compute the stages up to one of them, as `forward` gives them."""
        self.check_input(x)
        visible = None if mask is None else self._visible_units(x, mask)
        return self._maybe_compiled(
            Hiera.stage_features, self, x, visible, self.auto_windows(x), last
        )

    def auto_windows(self, x: Tensor) -> tuple[Size, ...] | None:
        """The windows of each stage that `window_spec='auto'` means for these images; else None.

        They are chosen outside of compiled graphs, which are then the same for all images.
        """
        if self.arch.window_spec != AUTO:
            return None
        return windows_for(self.arch, ceil_div(tuple(x.shape[2:]), self.arch.patch_stride))

    def stage_features(
        self,
        x: Tensor,
        visible: Tensor | None = None,
        windows: tuple[Size, ...] | None = None,
        last: int | None = None,
    ) -> list[Tensor]:
        """What `forward` computes after its checks: the part that is compiled.

        Args:
            x: Images, shape (B, C_in, H, W), normalised.
            visible: Indices of the mask units that are kept, ascending, shape (B, n_visible).
            windows: What `auto_windows` gives for x.
            last: The last stage that is computed; None: all are.

        Returns:
            The features of each stage, as `forward` gives them.
        """
        batch = x.shape[0]
        x = self.patch_embed(x, None if visible is None else self._unit_grid(visible, x))
        grid = tuple(x.shape[1:-1])
        x = x + self.position_embedding(grid)  # (B, *grid, C)
        if visible is None:
            layout = Layout(grid, grid)
            x = x.flatten(1, -2)  # (B, N, C)
        else:
            layout = Layout(grid, self.arch.mask_unit)
            units = partition(x, layout.window)  # (B*nW, N, C)
            x = units.index_select(0, rows_of(visible, math.prod(layout.windows)))

        features = []
        padding, padding_layout = None, layout  # an image as one window has no padding
        for step in plan(self.arch, layout, windows):
            if not step.layout.is_same(layout):
                if visible is not None:
                    raise ValueError(self._leaves_mask_units(step, layout))
                x = relayout(x, layout, step.layout)
            if not step.layout.is_same(padding_layout):
                padding = padding_mask(step.layout, batch, x.device)
                padding_layout = step.layout
            x = self.blocks[step.block](x, batch, step.layout.window, padding, step.is_global)
            layout = step.next_layout
            if step.block in self.stage_ends:
                if visible is None:
                    features.append(unpartition(x, layout))
                else:
                    features.append(x.reshape(batch, -1, *layout.window, x.shape[-1]))
                if len(features) - 1 == last:
                    break
        return features

    def get_random_mask(
        self, x: Tensor, mask_ratio: float, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw a mask: which mask units are kept, True = keep, as many in each image.

        Args:
            x: Images or clips, as for `forward`.
            mask_ratio: Share of the units that is dropped; `int(units * (1 - mask_ratio))` are
                kept, as in the original.
            generator: Where it is drawn from.

        Returns:
            Bool, shape (B, units).

        Raises:
            ValueError: The size is no multiple of a mask unit, or no unit would be kept.
        """
        units, kept = math.prod(self._units(x)), self._kept(x, mask_ratio)
        noise = torch.rand(len(x), units, device=x.device, generator=generator)
        return noise.argsort(1).argsort(1) < kept

    def _kept(self, x: Tensor, mask_ratio: float) -> int:
        """How many mask units of an image stay visible."""
        units = math.prod(self._units(x))
        kept = int(units * (1 - mask_ratio))
        if not 0 < kept <= units:
            raise ValueError(
                f"mask_ratio {mask_ratio} keeps {kept} of {units} units; expected some"
            )
        return kept

    def check_input(self, x: Tensor) -> None:
        """Raise a ValueError if x is no batch of images, or clips, that `forward` takes."""
        dims = len(self.arch.patch_kernel)
        if x.ndim != dims + 2 or x.shape[1] != self.in_channels or 0 in x.shape:
            size = ", ".join("THW"[-dims:])
            expected = f"(B, {self.in_channels}, {size}), not empty"
            raise ValueError(f"input of shape {tuple(x.shape)}; expected {expected}")

    def _visible_units(self, x: Tensor, mask: Tensor) -> Tensor:
        """The indices of the units that a mask keeps, ascending, shape (B, n_visible)."""
        if self.arch.rel_pos:
            raise ValueError(
                f"a mask together with rel_pos {self.arch.rel_pos}, which needs all tokens of the "
                "image; expected only one of them. To pretrain, leave rel_pos out: the weights "
                "load into a trunk that has it"
            )
        expected = (len(x), math.prod(self._units(x)))
        if mask.dtype != torch.bool or tuple(mask.shape) != expected:
            given = f"shape {tuple(mask.shape)} and {mask.dtype}"
            raise ValueError(f"mask of {given}; expected {expected}, torch.bool")
        kept = mask.sum(1)
        fits = (kept == kept[0]).all() & (kept[0] > 0)
        if torch.compiler.is_compiling():
            torch._assert_async(fits, "mask; expected as many units in each image, > 0")
        elif not fits:
            raise ValueError(
                f"mask keeps {kept.tolist()} units; expected as many in each image, > 0"
            )
        count = mask[0].nonzero().shape[0]
        torch._check(count > 0)  # type: ignore[no-untyped-call]
        torch._check(count <= mask.shape[1])  # type: ignore[no-untyped-call]
        return self._kept_units(mask, count)

    @staticmethod
    def _kept_units(mask: Tensor, count: int) -> Tensor:
        """The indices of what a mask keeps, `count` in each row, ascending."""
        return mask.int().argsort(dim=1, descending=True, stable=True)[:, :count]

    def _unit_grid(self, visible: Tensor, x: Tensor) -> Tensor:
        """Which mask units are visible, bool, shape (B, 1, *units)."""
        units = self._units(x)
        kept = torch.zeros(len(x), math.prod(units), dtype=torch.bool, device=x.device)
        return kept.scatter(1, visible, True).view(len(x), 1, *units)

    def _leaves_mask_units(self, step: Step, layout: Layout) -> str:
        return (
            f"with a mask, block {step.block} gets mask units of {layout.window} tokens, but it "
            f"attends in windows of {step.layout.window}; window_spec must follow the mask unit: "
            f"{self.arch.mask_unit} halved by every stage, or 0"
        )

    def _units(self, x: Tensor) -> Size:
        """Mask units per axis of an image that is made up of whole ones."""
        self.check_input(x)
        unit = tuple(
            u * s for u, s in zip(self.arch.mask_unit, self.arch.patch_stride, strict=True)
        )
        size = tuple(x.shape[2:])
        if any(n % u for n, u in zip(size, unit, strict=True)):
            raise ValueError(f"masked input of size {size}; expected multiples of {unit}")
        return ceil_div(size, unit)
