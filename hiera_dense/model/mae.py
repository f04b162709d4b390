"""A masked autoencoder around the trunk, for images and clips; needs no mmengine.

"Hiera" (Ryali et al., ICML 2023; facebookresearch/hiera, `hiera_mae.py`) after "Masked Autoencoders
Are Scalable Vision Learners" (He et al., CVPR 2022). Parameter names are the original's.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from hiera_dense.errors import SetupError
from hiera_dense.model import pos_embed as positions
from hiera_dense.model.arch import Arch
from hiera_dense.model.checks import require_heads, require_int, require_ints
from hiera_dense.model.graphs import CompileOptions
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.layers import CONVS, HieraBlock, LayerNorm
from hiera_dense.model.variants import resolve
from hiera_dense.model.windows import Layout, Size, ceil_div, rows_of, unpartition

_DECODER_SIZES = {2: (14, 14), 3: (8, 14, 14)}  # of images of 224 px, of clips of 16 frames
_RATIOS = {2: 0.6, 3: 0.9}


class Reconstruction(NamedTuple):
    """What a masked autoencoder gives; the original's four values, in its order.

    Attributes:
        loss: Mean squared error over the masked tokens of the decoder, a scalar.
        pred: Predicted pixels, normalised token by token, shape (B * masked tokens, pixels).
        label: The true ones, in the same form.
        mask: The mask that was used, True = visible, shape (B, units).
    """

    loss: Tensor
    pred: Tensor
    label: Tensor
    mask: Tensor


class MaskedAutoencoder(Hiera):
    """Sees some mask units of an image and predicts the pixels of the others.

    The trunk attends within mask units and then globally, whatever the windows of the arch, and its
    last stage does not pool; weights depend on neither. The visible tokens of all stages are fused
    at the grid of the last stage, and a plain transformer decodes them.

    Args:
        arch, in_channels, pos_embed, drop_path_rate, compile: As for `Hiera`.
        with_cp: As for `Hiera`, but not of some stages.
        decoder_dim, decoder_depth, decoder_num_heads: Channels, blocks and heads of the decoder.
        decoder_size: Tokens per axis of the decoder's position table, which follows other images.
            None: those of 224 px (and 16 frames).

    Raises:
        SetupError: An unknown name or field, or values that do not fit each other.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any],
        in_channels: int = 3,
        pos_embed: Mapping[str, Any] | None = None,
        drop_path_rate: float = 0.0,
        with_cp: bool | Literal["mlp"] = False,
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_num_heads: int = 16,
        decoder_size: Size | None = None,
        compile: CompileOptions = False,
    ) -> None:
        require_int("decoder_dim", decoder_dim, 1)
        require_int("decoder_depth", decoder_depth, 1)
        require_int("decoder_num_heads", decoder_num_heads, 1)
        require_heads("decoder_num_heads", decoder_dim, decoder_num_heads)
        sparse = _sparse(resolve(arch, pos_embed=pos_embed))
        axes = len(sparse.mask_unit)
        size = _DECODER_SIZES[axes] if decoder_size is None else decoder_size
        require_ints("decoder_size", size, 1, axes)
        size = tuple(size)
        super().__init__(
            asdict(sparse),
            in_channels,
            drop_path_rate=drop_path_rate,
            with_cp=with_cp,
            compile=compile,
        )
        self.default_mask_ratio = _RATIOS[axes]
        stages = _pools(sparse)
        dim = sparse.dims[-1]
        self.last_unit = ceil_div(sparse.mask_unit, _power(sparse.q_stride, stages))
        self.pred_stride = sparse.patch_stride[-1] * sparse.q_stride[-1] ** stages
        self.encoder_norm = LayerNorm(dim)
        kernels = [_power(sparse.q_stride, stages - stage) for stage in range(stages)]
        self.multi_scale_fusion_heads = nn.ModuleList(
            CONVS[axes](width, dim, kernel, kernel)
            for width, kernel in zip(sparse.dims, kernels, strict=False)
        )
        self.decoder_embed = nn.Linear(dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, decoder_dim))
        self.decoder_size = size
        self.decoder_pos_embed = nn.Parameter(torch.empty(1, math.prod(size), decoder_dim))
        recompute = self._recompute_of_stages(with_cp)[-1]
        self.decoder_blocks = nn.ModuleList(
            HieraBlock(decoder_dim, decoder_dim, decoder_num_heads, recompute=recompute)
            for _ in range(decoder_depth)
        )
        self.decoder_norm = LayerNorm(decoder_dim)
        self.decoder_pred = nn.Linear(decoder_dim, self.pred_stride**2 * in_channels)
        self._init_for_pretraining()

    def _init_for_pretraining(self) -> None:
        """As facebookresearch/hiera does it for this model; its fusion keeps PyTorch's values."""
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.normal_(self.decoder_pos_embed, std=0.02)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.data.flatten(1))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
            if isinstance(module, nn.Linear | nn.LayerNorm):
                nn.init.zeros_(module.bias)

    def forward(  # type: ignore[override]  # another model, with the trunk's parameters
        self,
        x: Tensor,
        mask_ratio: float | None = None,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Reconstruction:
        """Mask, encode, decode and compare.

        Args:
            x: Images, shape (B, C_in, H, W), normalised, H and W multiples of a mask unit (32 px);
                or clips (B, C_in, T, H, W), T a multiple of 2.
            mask_ratio: Share of the mask units that is hidden, as for `get_random_mask`. None: 0.6
                for images, 0.9 for clips.
            mask: Bool, shape (B, units), True = visible, as many in each image; instead of a ratio.
            generator: Where the mask is drawn from.

        Raises:
            ValueError: The shape of the input or of the mask does not fit, or nothing is visible,
                or nothing masked.
        """
        if mask is None:
            ratio = self.default_mask_ratio if mask_ratio is None else mask_ratio
            mask = self.get_random_mask(x, ratio, generator)
            visible = self._kept_units(mask, self._kept(x, ratio))  # without waiting for the device
        else:
            visible = self._visible_units(x, mask)
        if visible.shape == mask.shape:
            raise ValueError("mask keeps every unit; expected some to predict")
        pred, label = self._maybe_compiled(MaskedAutoencoder._compare, self, x, visible)
        return Reconstruction((pred - label).square().mean(), pred, label, mask)

    def _compare(self, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction and label of what is masked: the part that is compiled."""
        grid = self._last_grid(x)
        masked = self._masked_tokens(self._unit_grid(visible, x).flatten(1), grid)
        count = math.prod(grid) - visible.shape[1] * math.prod(self.last_unit)
        rows = rows_of(self._kept_units(masked, count), math.prod(grid))
        pred = self._decode(self._encode(x, visible), visible, rows, grid)
        exact = torch.promote_types(x.dtype, torch.float32)  # also under autocast
        label = self.patches(x).flatten(0, 1).index_select(0, rows)
        return pred.to(exact), normalized(label.to(exact))

    def no_weight_decay(self) -> set[str]:
        """As for the trunk, with the decoder's table and the mask token."""
        return super().no_weight_decay() | {"decoder_pos_embed", "mask_token"}

    def encode(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features of the visible units, fused over the stages and normalised.

        Args:
            x, mask: As for `forward`.

        Returns:
            Shape (B, n_visible, *unit, C), units as the last stage has them (2 x 2 tokens).
        """
        return self._encode(x, self._visible_units(x, mask))

    def _encode(self, x: Tensor, visible: Tensor) -> Tensor:
        stages = self.stage_features(x, visible)
        fused = stages[-1]
        heads = self.multi_scale_fusion_heads
        for head, stage in zip(heads, stages[: len(heads)], strict=True):
            cells = head(stage.flatten(0, 1).movedim(-1, 1))  # (B*n_visible, C, *unit)
            fused = fused + cells.movedim(1, -1).view_as(fused)
        return cast(Tensor, self.encoder_norm(fused))

    def _decode(self, latent: Tensor, visible: Tensor, masked: Tensor, grid: Size) -> Tensor:
        """Predict the pixels of masked tokens.

        Args:
            latent: What `encode` gives.
            visible: Indices of the visible units, shape (B, n_visible).
            masked: Which tokens of the batch, (B * N), are predicted.
            grid: Tokens per axis, at the last stage; N of them.

        Returns:
            Shape (masked tokens, pixels).
        """
        seen = self.decoder_embed(latent).flatten(2, -2)  # (B, n_visible, N', D)
        batch, cells = len(seen), seen.shape[2]
        units = math.prod(grid) // cells
        hidden = self.mask_token.to(seen.dtype).expand(batch * units, cells, -1)
        x = hidden.index_copy(0, rows_of(visible, units), seen.flatten(0, 1))  # (B*units, N', D)
        x = unpartition(x, Layout(grid, self.last_unit))  # (B, *grid, D)
        table = self.decoder_pos_embed.reshape(1, *self.decoder_size, -1)
        x = (x + positions.interpolate(table, grid)).flatten(1, -2)  # (B, N, D)
        for block in self.decoder_blocks:
            x = block(x, batch, grid, is_global=True)
        x = x.flatten(0, 1).index_select(0, masked)
        return cast(Tensor, self.decoder_pred(self.decoder_norm(x)))

    def patches(self, x: Tensor) -> Tensor:
        """The pixels of each token that the decoder predicts.

        Of clips, those of the first frame of each token; the channel comes last there and first in
        images, as in the original.

        Args:
            x: As for `forward`.

        Returns:
            Shape (B, N, pixels * C_in), tokens in row-major order.
        """
        p, (height, width) = self.pred_stride, x.shape[-2:]
        if x.ndim == 5:
            x = x[:, :, :: self.arch.patch_stride[0]]  # (B, C, T', H, W)
        cut = x.reshape(*x.shape[:-2], height // p, p, width // p, p)
        cut = cut.transpose(-3, -2)  # (B, C, [T',] h, w, p, p)
        if x.ndim == 5:
            return cut.movedim(1, -1).flatten(1, 3).flatten(2)
        return cut.movedim(1, 3).flatten(1, 2).flatten(2)

    def reconstruct(self, x: Tensor, pred: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures of what was seen and of what was predicted.

        The mean and the deviation of a predicted token, which the model does not predict, are the
        true ones.

        Args:
            x: As for `forward`.
            pred, mask: Of the `Reconstruction`.

        Returns:
            The input with zeros where it was masked, and the input with the prediction there, each
            of the shape of x; of clips the first frame of each token.
        """
        masked = self._masked_tokens(mask, self._last_grid(x))
        true = self.patches(x)
        seen, predicted = true.clone(), true.clone()
        seen[masked] = 0.0
        mean, deviation = _moments(true[masked])
        predicted[masked] = (pred * deviation + mean).to(true.dtype)
        return self._from_patches(seen, x), self._from_patches(predicted, x)

    def _from_patches(self, patches: Tensor, x: Tensor) -> Tensor:
        """The inverse of `patches`."""
        p, (height, width) = self.pred_stride, x.shape[-2:]
        grid = self._last_grid(x)
        if x.ndim == 5:
            cut = patches.reshape(len(x), *grid, p, p, -1).movedim(-1, 1)
        else:
            cut = patches.reshape(len(x), *grid, -1, p, p).movedim(3, 1)
        return cut.transpose(-3, -2).reshape(*cut.shape[:-4], height, width)

    def _last_grid(self, x: Tensor) -> Size:
        """Tokens per axis at the last stage."""
        grid = ceil_div(tuple(x.shape[2:]), self.arch.patch_stride)
        return ceil_div(grid, _power(self.arch.q_stride, _pools(self.arch)))

    def _masked_tokens(self, mask: Tensor, grid: Size) -> Tensor:
        """Which tokens of the last stage are masked, in row-major order, shape (B, N)."""
        units = mask.reshape(-1, 1, 1).expand(-1, math.prod(self.last_unit), 1)
        seen = unpartition(units, Layout(grid, self.last_unit))
        return ~seen.reshape(len(mask), -1)


def normalized(patches: Tensor) -> Tensor:
    """Pixels with mean 0 and deviation 1 in each row.

    Args:
        patches: Shape (..., pixels).
    """
    mean, deviation = _moments(patches)
    return (patches - mean) / deviation


def _moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + 1e-6).sqrt()


def _pools(arch: Arch) -> int:
    return len(arch.q_pool_blocks)


def _power(stride: Size, times: int) -> Size:
    return tuple(s**times for s in stride)


def _sparse(arch: Arch) -> Arch:
    """The same weights with mask units as windows, or global, and no pooling in the last stage."""
    if len(arch.stages) < 2:
        raise SetupError(f"stages {arch.stages}; expected 2 or more to pretrain")
    arch = replace(arch, rel_pos=None)  # learned where it is used, on whole images
    pools = min(_pools(arch), len(arch.stages) - 2)
    units = [
        ceil_div(arch.mask_unit, _power(arch.q_stride, min(stage, pools)))
        for stage in range(len(arch.stages))
    ]
    if isinstance(arch.window_spec, str):  # follows the image; the early stages' is the mask unit
        return replace(arch, window_spec=Arch.window_spec, q_pool=pools)
    follows = [arch.window_of(e) == unit for e, unit in zip(arch.window_spec, units, strict=True)]
    spec = [e if follow else 0 for e, follow in zip(arch.window_spec, follows, strict=True)]
    return replace(arch, window_spec=tuple(spec), q_pool=pools)
