"""Hiera as a backbone of transformers: after `import hiera_dense.transformers`, by AutoBackbone.

    from transformers import AutoBackbone, UperNetConfig, UperNetForSemanticSegmentation
    config = HieraDenseConfig(arch="tiny", out_features=["stage1", "stage2", "stage3", "stage4"])
    backbone = AutoBackbone.from_config(config)
    segmenter = UperNetForSemanticSegmentation(UperNetConfig(backbone_config=config))

`load_pretrained(segmenter.backbone, "sam2.1_hiera_tiny")` fills it with published weights. The
model type is `hiera_dense`; transformers' own Hiera has the type `hiera`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BackboneOutput

try:
    from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
except ModuleNotFoundError:  # before transformers 5
    from transformers.utils.backbone_utils import (  # type: ignore[attr-defined]  # it is not typed
        BackboneConfigMixin,
        BackboneMixin,
    )

from hiera_dense.errors import SetupError
from hiera_dense.model.arch import WindowSpec
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.layers import HieraBlock, LayerNorm
from hiera_dense.model.variants import resolve
from hiera_dense.model.windows import Size

_STEM = "stem"


class HieraDenseConfig(BackboneConfigMixin, PretrainedConfig):
    """What `HieraDenseBackbone` is built from.

    Args:
        arch, window_spec, global_att_blocks, pos_embed, rel_pos, drop_path_rate: As for `Hiera`;
            archs of images.
        num_channels: Channels of the image.
        out_norm: Normalise each map with its own LayerNorm.
        out_features: Which maps are returned: some of `stem`, `stage1` to `stage4`, in order. None:
            the last, or those of `out_indices`.
        out_indices: The same by index: 0 is the stem, as in transformers' own Hiera.
        **kwargs: As for `transformers.PretrainedConfig`.

    Raises:
        SetupError: An unknown name or field, or values that do not fit each other.
        ValueError: There is no such stage.
    """

    model_type = "hiera_dense"

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "base",
        num_channels: int = 3,
        window_spec: WindowSpec | None = None,
        global_att_blocks: Sequence[int] | None = None,
        pos_embed: Mapping[str, Any] | None = None,
        rel_pos: Size | None = None,
        drop_path_rate: float = 0.0,
        out_norm: bool = True,
        out_features: Sequence[str] | None = None,
        out_indices: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        resolved = resolve(arch, window_spec, global_att_blocks, pos_embed, rel_pos)
        if len(resolved.mask_unit) != 2:
            raise SetupError(f"arch {arch!r}; expected one of images")
        super().__init__(**kwargs)
        self.arch = arch if isinstance(arch, str) else dict(arch)
        self.num_channels = num_channels
        self.window_spec = window_spec
        self.global_att_blocks = global_att_blocks
        self.pos_embed = pos_embed
        self.rel_pos = rel_pos
        self.drop_path_rate = drop_path_rate
        self.out_norm = out_norm
        self.hidden_size = resolved.dims[-1]
        self.stage_names = [_STEM, *(f"stage{i + 1}" for i in range(len(resolved.stages)))]
        if out_features is not None:
            self.out_features = list(out_features)
        else:
            self.out_indices = [-1] if out_indices is None else list(out_indices)


class HieraDenseBackbone(BackboneMixin, PreTrainedModel):
    """Feature maps of a Hiera trunk, as transformers' detectors and segmenters take them.

    Its `trunk` is a `Hiera`, so `hiera_dense.load_pretrained` fills it with any weights it knows.
    """

    config_class = HieraDenseConfig
    base_model_prefix = "hiera_dense"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    has_attentions = False

    def __init__(self, config: HieraDenseConfig) -> None:
        super().__init__(config)
        if prepare := getattr(self, "_init_backbone", None):  # before transformers 5
            prepare(config)
        self.trunk = Hiera(
            config.arch,
            config.num_channels,
            config.window_spec,
            config.global_att_blocks,
            config.pos_embed,
            config.drop_path_rate,
            rel_pos=config.rel_pos,
        )
        dims = self.trunk.arch.dims
        self.num_features = [dims[0], *dims]
        self.norms = nn.ModuleDict(
            {
                name: LayerNorm(dim) if config.out_norm else nn.Identity()
                for name, dim in zip(self.out_features, self.channels, strict=True)
            }
        )
        self.gradient_checkpointing = False
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BackboneOutput | tuple[Any, ...]:
        """Compute feature maps.

        Args:
            pixel_values: Images, shape (B, C_in, H, W), normalised; any H and W.
            output_hidden_states: Also return all features, un-normalised. None: as in the config.
            output_attentions: Has no effect: the attention kernels keep no weights.
            return_dict: A tuple if False. None: as in the config.
            **kwargs: Not used; other backbones of transformers take more.

        Returns:
            `feature_maps`, one for each of `out_features`, shape (B, C, ceil(H / stride),
            ceil(W / stride)), stride 4 (stem and stage 1) to 32. `hidden_states`, of the stem and
            each stage: tokens in row-major order, shape (B, N, C).
        """
        for block in self.trunk.blocks:
            assert isinstance(block, HieraBlock)
            block.recompute = "block" if self.gradient_checkpointing and self.training else None
        wants_all = output_hidden_states
        if wants_all is None:
            wants_all = self.config.output_hidden_states
        names = self.stage_names if wants_all else self.out_features
        features = self._features(pixel_values, names)
        maps = tuple(
            self.norms[name](features[name]).movedim(-1, 1).contiguous()
            for name in self.out_features
        )
        states = tuple(features[name].flatten(1, -2) for name in names) if wants_all else None
        if return_dict is None:
            return_dict = self.config.return_dict
        output = BackboneOutput(feature_maps=maps, hidden_states=states)
        return output if return_dict else output.to_tuple()

    def _features(self, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Of each stage that is named, and of the stem, its features, shape (B, H, W, C)."""
        features: dict[str, Tensor] = {}
        if _STEM in names:
            self.trunk.check_input(images)
            tokens = self.trunk.patch_embed(images)
            grid = tuple(tokens.shape[1:-1])
            features[_STEM] = tokens + self.trunk.position_embedding(grid)
        stages = [name for name in names if name != _STEM]
        if stages:
            indices = [self.stage_names.index(name) - 1 for name in stages]
            maps = self.trunk.forward_intermediates(
                images, indices, stop_early=True, output_fmt="NHWC", intermediates_only=True
            )
            features |= dict(zip(stages, cast("list[Tensor]", maps), strict=True))
        return features

    def _init_weights(self, module: nn.Module) -> None:
        """What transformers calls for each module whose weights a file lacks, and at first."""
        if any(module is norm for norm in self.norms.values()):
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        else:
            self.trunk.initialise(module)


AutoConfig.register(HieraDenseConfig.model_type, HieraDenseConfig, exist_ok=True)
AutoBackbone.register(HieraDenseConfig, HieraDenseBackbone, exist_ok=True)
