"""The parts of a Hiera trunk: patch embedding, attention, block.

Parameter names are those of facebookresearch/hiera (`hiera.py`), so its weights fit.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from timm import layers as timm_layers
from timm.layers import DropPath, LayerScale
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hiera_dense.model import cpu
from hiera_dense.model.attention import attention
from hiera_dense.model.relative import relative_attention
from hiera_dense.model.windows import Size, max_pool, mean_pool, zero_padding

LayerNorm = partial(nn.LayerNorm, eps=1e-6)
Recompute = Literal["block", "mlp"]
CONVS: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}


class PatchEmbed(nn.Module):
    """Overlapping convolution from pixels to tokens.

    Args:
        in_channels: Channels of the image.
        dim: Channels of a token.
        kernel, stride, padding: Of the convolution, in pixels per axis (and frames, for a clip).
    """

    def __init__(
        self, in_channels: int, dim: int, kernel: Size, stride: Size, padding: Size
    ) -> None:
        super().__init__()
        self.proj = CONVS[len(kernel)](in_channels, dim, kernel, stride, padding)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Embed an image or a clip.

        Args:
            x: Pixels, shape (B, C_in, *size).
            visible: Bool, shape (B, 1, *units); pixels of a unit that is not visible are zeroed, or
                they would leak into visible tokens through the overlap.

        Returns:
            Tokens, shape (B, *grid, C).
        """
        if visible is not None:
            x = x * F.interpolate(visible.to(x.dtype), size=x.shape[2:], mode="nearest")
        return cast(Tensor, self.proj(x)).movedim(1, -1)


class Attention(nn.Module):
    """Multi-head attention within groups of tokens, with q-pooling.

    Args:
        dim, dim_out: Channels of the input and of the output.
        num_heads: Heads, over `dim_out`.
        q_stride: Tokens per axis that are max pooled into one query; None: no pooling.
        rel_pos: Tokens per axis that tables of relative position are laid out for, which start at
            zero (`relative`); None: none. With them, attention is global, in one window.
    """

    def __init__(
        self,
        dim: int,
        dim_out: int,
        num_heads: int,
        q_stride: Size | None,
        rel_pos: Size | None = None,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim_out // num_heads
        self.q_stride = q_stride
        self.qkv = nn.Linear(dim, 3 * dim_out)
        self.proj = nn.Linear(dim_out, dim_out)
        self.has_rel_pos = rel_pos is not None
        if rel_pos is not None:
            height, width = rel_pos
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * height - 1, self.head_dim))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * width - 1, self.head_dim))

    def forward(
        self, x: Tensor, groups: int, window: Size, padding: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Args:
            x: Tokens in window layout, shape (B*nW, N, C).
            groups: Rows of the batch that attention works in: B*nW for window attention, B for
                global attention.
            window: Tokens per window and axis.
            padding: What `windows.padding_mask` gives; padded queries do not enter the pooling.

        Returns:
            Tokens, shape (B*nW, N', C_out).
        """
        rows, dim = x.shape[0], self.num_heads * self.head_dim
        qkv = self.qkv(x)  # (B*nW, N, 3 * C_out)
        heads = qkv.reshape(groups, -1, 3, self.num_heads, self.head_dim)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind()  # each (groups, nH, N, D)
        if self.q_stride is not None:
            q = max_pool(qkv[..., :dim], window, self.q_stride, padding)  # (B*nW, N', C_out)
            q = q.reshape(groups, -1, self.num_heads, self.head_dim).transpose(1, 2)
        if self.has_rel_pos:
            tables = self.rel_pos_h, self.rel_pos_w
            x = relative_attention(q, k, v, tables, window, self.q_stride or (1, 1))
        else:
            x = attention(q, k, v)
        x = x.transpose(1, 2).reshape(rows, -1, dim)  # (B*nW, N', C_out)
        return cast(Tensor, self.proj(x))


class Mlp(timm_layers.Mlp):
    """timm's: two linear layers with GELU between them; a CPU may fuse them."""

    def forward(self, x: Tensor) -> Tensor:
        """From (..., C) to (..., C)."""
        if cpu.prefers_fused_mlp(self, x):
            return cpu.fused_mlp(self, x)
        return cast(Tensor, super().forward(x))  # type: ignore[no-untyped-call]


class HieraBlock(nn.Module):
    """A pre-norm transformer block; the first of a stage also pools and widens.

    Args:
        dim, dim_out: Channels of the input and of the output.
        num_heads: Heads of the attention.
        q_stride: Stride of the q-pooling; None: no pooling.
        layer_scale: Initial value of a learned factor on each branch; None: none.
        expand_proj: Whether the shortcut of a widening block is a linear layer after the norm, then
            max pooled. If False, it is the max and the mean of each pooled cell, concatenated
            (timm, `hiera.py`); the width must then double.
        drop_path: Probability that an image skips a branch.
        recompute: What the backward pass computes again instead of keeping it: the whole block,
            or the norm, first layer and activation of its MLP; None: nothing.
        rel_pos: As for `Attention`.
    """

    def __init__(
        self,
        dim: int,
        dim_out: int,
        num_heads: int,
        q_stride: Size | None = None,
        layer_scale: float | None = None,
        expand_proj: bool = True,
        drop_path: float = 0.0,
        recompute: Recompute | None = None,
        rel_pos: Size | None = None,
    ) -> None:
        super().__init__()
        self.q_stride = q_stride
        self.recompute = recompute
        self.norm1 = LayerNorm(dim)
        self.attn = Attention(dim, dim_out, num_heads, q_stride, rel_pos)
        self.widens = dim != dim_out
        self.proj = nn.Linear(dim, dim_out) if self.widens and expand_proj else None
        self.ls1 = self._scale(dim_out, layer_scale)
        self.norm2 = LayerNorm(dim_out)
        self.mlp = Mlp(dim_out, 4 * dim_out)
        self.ls2 = self._scale(dim_out, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Tensor,
        batch: int,
        window: Size,
        padding: Tensor | None = None,
        is_global: bool = False,
    ) -> Tensor:
        """Transform tokens.

        Args:
            x: Tokens in window layout, shape (B*nW, N, C).
            batch: B, images in the batch.
            window: Tokens per window and axis.
            padding: What `windows.padding_mask` gives for the layout.
            is_global: Attend to all tokens of an image, none of which may be padding, and not to
                those of the window. With relative position, the window is the image.

        Returns:
            Tokens, shape (B*nW, N', C_out), N' smaller than N after q-pooling.
        """
        groups = batch if is_global else x.shape[0]
        if self.recompute == "block" and torch.is_grad_enabled():
            return self._checkpointed(self._transform, x, batch, groups, window, padding)
        return self._transform(x, batch, groups, window, padding)

    def _transform(
        self, x: Tensor, batch: int, groups: int, window: Size, padding: Tensor | None
    ) -> Tensor:
        x = self._attend(x, batch, groups, window, padding)
        if self.recompute == "mlp" and torch.is_grad_enabled():
            return x + self._drop(self._checkpointed(self._mlp_branch, x), batch)
        return x + self._drop(self._mlp_branch(x), batch)

    def _attend(
        self, x: Tensor, batch: int, groups: int, window: Size, padding: Tensor | None
    ) -> Tensor:
        # Published weights expect windows to be padded with zeros after the norm, in every block.
        normed = zero_padding(self.norm1(x), padding)
        branch = self.ls1(self.attn(normed, groups, window, padding))
        return self._shortcut(x, normed, window, padding) + self._drop(branch, batch)

    def _mlp_branch(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.ls2(self.mlp(self.norm2(x))))

    def _shortcut(self, x: Tensor, normed: Tensor, window: Size, padding: Tensor | None) -> Tensor:
        """What the branch of attention is added to, shape (B*nW, N', C_out)."""
        if not self.widens:
            return x
        if self.proj is not None:
            x = self.proj(normed)
            return x if self.q_stride is None else max_pool(x, window, self.q_stride, padding)
        if self.q_stride is None:
            return torch.cat((x, x), dim=-1)
        cells = (window, self.q_stride, padding)
        return torch.cat((max_pool(x, *cells), mean_pool(x, *cells)), dim=-1)

    def _checkpointed(self, work: Callable[..., Tensor], *args: Any) -> Tensor:
        """Call `work`, keep its arguments alone, and call it again in the backward pass."""
        # Drop path and the dropout of adapters must draw the same numbers again.
        result = checkpoint(work, *args, use_reentrant=False, preserve_rng_state=self.training)
        return cast(Tensor, result)

    @staticmethod
    def _scale(dim: int, initial: float | None) -> nn.Module:
        return nn.Identity() if initial is None else LayerScale(dim, initial)

    def _drop(self, x: Tensor, batch: int) -> Tensor:
        """Drop a branch for whole images, not for single windows."""
        if not self.training or not self.drop_path.drop_prob:
            return x
        return cast(Tensor, self.drop_path(x.reshape(batch, -1, x.shape[-1]))).view_as(x)
