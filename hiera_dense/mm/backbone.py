"""Hiera as a backbone of MMDetection and MMSegmentation: `type='hiera_dense.HieraBackbone'`."""

from collections.abc import Mapping, Sequence
from typing import Any

from hiera_dense.registry import MODELS  # isort: split

from mmengine.model import BaseModule
from torch import Tensor, nn

from hiera_dense.errors import SetupError
from hiera_dense.mm.init_cfg import last_and_ours
from hiera_dense.model.arch import Size, WindowSpec
from hiera_dense.model.checks import is_int, require_bool, require_ints
from hiera_dense.model.freezing import freeze
from hiera_dense.model.graphs import CompileOptions, Graph
from hiera_dense.model.hiera import Hiera, WithCp
from hiera_dense.model.layers import LayerNorm


@MODELS.register_module()
class HieraBackbone(BaseModule):
    """Feature maps of a Hiera trunk at strides 4, 8, 16, 32.

    Args:
        arch, in_channels, window_spec, global_att_blocks, pos_embed: As for `Hiera`.
        drop_path_rate, with_cp, rel_pos, compile: As for `Hiera`.
        out_indices: Stages whose maps are returned, counted from 0. Stages after the last of them
            are still built, so that weights load, but are not trained.
        out_norm: Normalise each map with its own LayerNorm (`norm0` to `norm3`). Needed by most
            necks, because the trunk has no norm after a stage.
        frozen_stages: -1: none; 0: patch and position embedding; n: these and the first n stages.
            Frozen parts get no gradient and stay in eval mode.
        init_cfg: mmengine's initialisation config. `type='Pretrained'` is replaced by
            `hiera_dense.Pretrained` and applied after all other initialisers.

    Raises:
        SetupError: An unknown name or field, or a value out of range.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any],
        in_channels: int = 3,
        window_spec: WindowSpec | None = None,
        global_att_blocks: Sequence[int] | None = None,
        pos_embed: Mapping[str, Any] | None = None,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norm: bool = True,
        frozen_stages: int = -1,
        with_cp: WithCp = False,
        rel_pos: Size | None = None,
        compile: CompileOptions = False,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(last_and_ours(init_cfg))
        self.trunk = Hiera(
            arch,
            in_channels,
            window_spec,
            global_att_blocks,
            pos_embed,
            drop_path_rate,
            with_cp,
            rel_pos,
        )
        dims = self.trunk.arch.dims
        stages = len(dims)
        require_ints("out_indices", out_indices, 0)
        if not out_indices or list(out_indices) != sorted(set(out_indices) & set(range(stages))):
            raise SetupError(
                f"out_indices {tuple(out_indices)}; expected some of 0 to {stages - 1}, in order"
            )
        require_bool("out_norm", out_norm)
        if not is_int(frozen_stages, -1) or frozen_stages > stages:
            raise SetupError(f"frozen_stages {frozen_stages!r}; expected -1 to {stages}")
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self._maybe_compiled = Graph(compile)
        for i in self.out_indices:
            self.add_module(f"norm{i}", LayerNorm(dims[i]) if out_norm else nn.Identity())
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute feature maps.

        Args:
            x: Images, shape (B, C_in, H, W), normalised; any H and W.

        Returns:
            One map for each of `out_indices`, shape (B, C, ceil(H / stride), ceil(W / stride)),
            stride 4 to 32. Of clips (B, C_in, T, H, W) maps (B, C, ceil(T / 2), ...).
        """
        self.trunk.check_input(x)
        return self._maybe_compiled(HieraBackbone._maps, self, x, self.trunk.auto_windows(x))

    def _maps(self, x: Tensor, windows: tuple[Size, ...] | None) -> tuple[Tensor, ...]:
        """What `forward` computes after its checks: the part that is compiled."""
        stages = self.trunk.stage_features(x, windows=windows, last=self.out_indices[-1])
        return tuple(
            self.get_submodule(f"norm{i}")(stages[i]).movedim(-1, 1).contiguous()
            for i in self.out_indices
        )

    def train(self, mode: bool = True) -> "HieraBackbone":
        """Set the mode; what is frozen stays in eval mode."""
        super().train(mode)
        self._freeze()
        return self

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """The depth of a parameter, for layer-wise learning-rate decay; MMPretrain's signature.

        Args:
            param_name: The name of a parameter of this backbone, or of a model around it.
            prefix: What stands before the names of this backbone's own parameters.

        Returns:
            (depth, number of depths), as `Hiera.get_layer_depth` has them; output norms are last.
        """
        return self.trunk.get_layer_depth(param_name, f"{prefix}trunk.")

    def _freeze(self) -> None:
        freeze(self.trunk, self.frozen_stages, self.out_indices[-1])
