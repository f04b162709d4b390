"""Our architectures in timm: after `import hiera_dense.timm`, as `hiera_dense_ARCH`.

`timm.create_model("hiera_dense_tiny", features_only=True)` gives maps at strides 4 to 32. Clips are
left out: timm's features are of images.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import (
    build_model_with_cfg,
    generate_default_cfgs,
    register_model,
    resolve_pretrained_cfg,
)
from torch import Tensor, nn

from hiera_dense.errors import SetupError
from hiera_dense.model.arch import WindowSpec
from hiera_dense.model.checks import require_int, require_ints
from hiera_dense.model.classifier import Classifier, Head
from hiera_dense.model.graphs import CompileOptions
from hiera_dense.model.hiera import WithCp
from hiera_dense.model.layers import HieraBlock
from hiera_dense.model.variants import ARCHS
from hiera_dense.weights.catalog import WEIGHTS, Weight
from hiera_dense.weights.load import load_pretrained

PREFIX = "hiera_dense_"
IMAGE_ARCHS = tuple(name for name, arch in ARCHS.items() if len(arch.mask_unit) == 2)
_POOLS = ("avg", "")
_STRIDE = 32


class TimmHiera(Classifier):
    """A classifier with what timm asks of a model.

    Parameter names are those of `Classifier`, so all weights that the package knows can be loaded.

    Args:
        arch, window_spec, global_att_blocks, pos_embed, drop_path_rate, with_cp, compile: As for
            `Hiera`.
        num_classes: Classes. 0: no classifier; `forward` gives the pooled, normalised features.
        in_chans: Channels of the image.
        img_size: Pixels per side, or height and width, for timm's transforms. Images of other sizes
            work too, and no parameter depends on it.
        global_pool: `avg`, or an empty string: `forward` scores each token.
        drop_rate: Share of the feature before the last layer that is zeroed in training.
        head_init_scale: As for `Classifier`.
        output_stride: 32, the only one.

    Raises:
        SetupError: An unknown name or field, or a value out of range.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any],
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | Sequence[int] | None = None,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        window_spec: WindowSpec | None = None,
        global_att_blocks: Sequence[int] | None = None,
        pos_embed: Mapping[str, Any] | None = None,
        with_cp: WithCp = False,
        head_init_scale: float = 0.001,
        output_stride: int = _STRIDE,
        compile: CompileOptions = False,
    ) -> None:
        require_int("num_classes", num_classes, 0)
        if img_size is not None:
            _height_and_width(img_size)
        if output_stride != _STRIDE:
            raise SetupError(
                f"output_stride {output_stride}; expected {_STRIDE}: stages of Hiera pool, which "
                "cannot be dilated"
            )
        super().__init__(
            arch,
            num_classes or 1,
            in_chans,
            window_spec,
            global_att_blocks,
            pos_embed,
            drop_path_rate,
            with_cp,
            drop_rate,
            head_init_scale,
            compile=compile,
        )
        self.in_chans = in_chans
        self.num_features = self.head_hidden_size = self.arch.dims[-1]
        self._head_settings = (drop_rate, head_init_scale)
        self.num_classes = num_classes
        self.global_pool = global_pool
        self.reset_classifier(num_classes, global_pool)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, return_intermediates: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """As `Classifier.forward`, with what pruning and `global_pool` leave of it."""
        features = self._checked_features(x, mask, len(self.stage_ends) - 1)
        last = features[-1]
        result = self.forward_head(last) if mask is None else last.flatten(1, -2)
        return (result, features) if return_intermediates else result

    def forward_features(self, x: Tensor) -> Tensor:
        """Features of the last stage, un-normalised, shape (B, H, W, C)."""
        return self._checked_features(x, last=len(self.stage_ends) - 1)[-1]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """From what `forward_features` gives to scores.

        Args:
            x: Features, shape (B, H, W, C).
            pre_logits: Stop before the classifier.

        Returns:
            Shape (B, classes); with an empty `global_pool` (B, H * W, classes). Without a
            classifier C in place of classes.
        """
        tokens = x.flatten(1, -2)
        feature: Tensor = self.norm(tokens.mean(1) if self.global_pool else tokens)
        if pre_logits:
            return feature
        scores: Tensor = self.head(feature)
        return scores

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = True,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """As `Hiera.forward_intermediates`; stops early unless told otherwise, as timm's do."""
        return super().forward_intermediates(
            x, indices, norm, stop_early, output_fmt, intermediates_only
        )

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what features of some stages do not need.

        Args:
            indices: Stages, counted from 0, or from the end if negative; an int n: the last n.
            prune_norm: Also remove the norm before the classifier.
            prune_head: Also remove the classifier.

        Returns:
            The stages, counted from 0, in the order given.

        Raises:
            SetupError: There is no such stage.
        """
        count = len(self.stage_ends)
        wanted = list(range(-indices, 0) if isinstance(indices, int) else indices)
        taken = [i + count if i < 0 else i for i in wanted]
        if not taken or not all(0 <= i < count for i in taken):
            raise SetupError(f"out_indices {indices}; expected some of 0 to {count - 1}")
        is_cut = max(taken) < count - 1
        self.stage_ends = self.stage_ends[: max(taken) + 1]
        self.blocks = self.blocks[: self.stage_ends[-1] + 1]
        self.num_features = self.head_hidden_size = self.arch.dims[max(taken)]
        if prune_norm or is_cut:
            self.add_module("norm", nn.Identity())
        if prune_head or is_cut:
            self.reset_classifier(0)
        return taken

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.head.projection

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new last layer in place; 0 classes: none. `global_pool` None: as it is.

        Raises:
            SetupError: A value is out of range.
        """
        require_int("num_classes", num_classes, 0)
        pool = self.global_pool if global_pool is None else global_pool
        if pool not in _POOLS:
            raise SetupError(f"global_pool {pool!r}; expected {' or '.join(map(repr, _POOLS))}")
        self.num_classes, self.global_pool = num_classes, pool
        table = self.patch_embed.proj.weight
        head = Head(self.num_features, num_classes or 1, *self._head_settings, False)
        if not num_classes:
            head.add_module("projection", nn.Identity())
        self.head = head.to(table.device, table.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks in the backward pass, or keep their activations."""
        for block in self.blocks:
            cast(HieraBlock, block).recompute = "block" if enable else None

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Which depth a parameter belongs to, for timm's layer-wise decay."""
        return dict(
            stem=r"^(?:patch_embed|pos_embed)",
            blocks=[(r"^blocks\.(\d+)", None), (r"^norm", (99999,))],
        )


def _height_and_width(img_size: Any) -> tuple[int, ...]:
    """Both sides of what `img_size` says."""
    sides = (img_size, img_size) if isinstance(img_size, int) else img_size
    require_ints("img_size", sides, 1, 2)
    return tuple(sides)


def _tag(name: str, weight: Weight) -> str:
    """The name of published weights in timm, after that of the model."""
    if weight.arch.startswith("sam2"):
        version = name.split("_hiera_")[0]
        return f"{version}*" if version == "sam2.1" else version  # the star: timm's default
    return name.split(".", 1)[1]


def _side(arch: str) -> int:
    """Pixels per side of the images that published weights were trained on."""
    if arch.startswith("sam2"):
        return 1024 if arch == "sam2_large" else 896
    return 256 if "abswin" in arch else 224


def _cfg(weight: Weight) -> dict[str, Any]:
    """What timm wants to know about weights."""
    side = _side(weight.arch)
    return dict(
        hf_hub_id=weight.hub,
        hf_hub_filename=weight.file,
        license=weight.licence.lower().replace(" ", "-"),
        num_classes=weight.classes or 0,
        input_size=(3, side, side),
        crop_pct=1.0 if weight.arch.startswith("sam2") else 0.95 if side == 256 else 0.9,
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
        first_conv="patch_embed.proj",
        classifier="head.projection",
    )


default_cfgs = generate_default_cfgs(
    {
        f"{PREFIX}{weight.arch}.{_tag(name, weight)}": _cfg(weight)
        for name, weight in WEIGHTS.items()
        if weight.arch in IMAGE_ARCHS
    }
)


def _fill(model: nn.Module, cfg: Any, cache_dir: str | None) -> None:
    """Load the weights that a config of timm names, with our strict and safe loader."""
    if cfg.file:
        load_pretrained(model, cfg.file)
    elif cfg.hf_hub_id:
        repository, _, revision = cfg.hf_hub_id.partition("@")
        options: dict[str, Any] = dict(revision=revision, cache_dir=cache_dir)
        given = {name: value for name, value in options.items() if value}
        load_pretrained(model, f"hf-hub:{repository}", **given)
    elif cfg.url:
        load_pretrained(model, cfg.url)
    else:
        raise SetupError(
            "pretrained=True with a pretrained_cfg that names no weights; expected file, hf_hub_id "
            "or url in it"
        )


def _entrypoint(arch: str) -> Callable[..., nn.Module]:
    variant = f"{PREFIX}{arch}"

    def build(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: dict[str, Any] | None = None,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> nn.Module:
        overlay = dict(pretrained_cfg_overlay or {})
        cfg = resolve_pretrained_cfg(variant, pretrained_cfg, overlay)
        if (img_size := kwargs.get("img_size")) is not None:  # timm's transforms read it there
            channels = kwargs.get("in_chans", cfg.input_size[0])
            overlay["input_size"] = (channels, *_height_and_width(img_size))

        def model(**arguments: Any) -> TimmHiera:
            built = TimmHiera(arch, **arguments)
            if pretrained:
                _fill(built, cfg, cache_dir)
            return built

        # timm wraps the model for features_only; the weights must be in it before that.
        return build_model_with_cfg(
            model,
            variant,
            pretrained=False,
            pretrained_cfg=pretrained_cfg,
            pretrained_cfg_overlay=overlay,
            feature_cfg=dict(out_indices=tuple(range(4)), feature_cls="getter"),
            **kwargs,
        )

    build.__name__ = build.__qualname__ = variant
    build.__doc__ = f"""Hiera, arch `{arch}`, with timm's arguments or those of `TimmHiera`."""
    return build


for _arch in IMAGE_ARCHS:
    register_model(_entrypoint(_arch))
