"""The parts of a Hiera trunk: patch embedding, attention, block.

Parameter names are those of facebookresearch/hiera (`hiera.py`), so its weights fit.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import DropPath, LayerScale, Mlp
from torch import Tensor, nn

from hiera_dense.compute import WHOLE, attention, joined, linear, linear_after, recomputed, slices
from hiera_dense.relative import relative_attention
from hiera_dense.windows import Size, max_pool, mean_pool, zero_padding

LayerNorm = partial(nn.LayerNorm, eps=1e-6)
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
        self.q_stride = q_stride
        self.qkv = nn.Linear(dim, 3 * dim_out)
        self.proj = nn.Linear(dim_out, dim_out)
        self.has_rel_pos = rel_pos is not None
        if rel_pos is not None:
            height, width = rel_pos
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * height - 1, dim_out // num_heads))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * width - 1, dim_out // num_heads))

    def forward(self, qkv: Tensor, groups: int, window: Size, padding: Tensor | None) -> Tensor:
        """Attend; what stands before it, `qkv`, and behind it, `proj`, the block calls.

        Args:
            qkv: Queries, keys and values in window layout, shape (B*nW, N, 3 * C_out).
            groups: Rows of the batch that attention works in: B*nW for window attention, B for
                global attention.
            window: Tokens per window and axis.
            padding: What `windows.padding_mask` gives; padded queries do not enter the pooling.

        Returns:
            Tokens, shape (B*nW, N', C_out).
        """
        q, k, v = qkv.chunk(3, dim=-1)  # each (B*nW, N, C_out)
        if self.q_stride is not None:
            q = max_pool(q, window, self.q_stride, padding)  # (B*nW, N', C_out)
        shape = q.shape
        q, k, v = (self._split_heads(t, groups) for t in (q, k, v))
        if self.has_rel_pos:
            tables = self.rel_pos_h, self.rel_pos_w
            x = relative_attention(q, k, v, tables, window, self.q_stride or (1, 1))
        else:
            x = attention(q, k, v)
        return x.transpose(1, 2).reshape(shape)

    def _split_heads(self, x: Tensor, groups: int) -> Tensor:
        x = x.reshape(groups, -1, self.num_heads, x.shape[-1] // self.num_heads)
        return x.transpose(1, 2)  # (groups, nH, N, D)


class HieraBlock(nn.Module):
    """A pre-norm transformer block; the first of a stage also pools and widens.

    Args:
        dim, dim_out: Channels of the input and of the output.
        num_heads: Heads of the attention.
        q_stride: Stride of the q-pooling; None: no pooling.
        layer_scale: Initial value of a learned factor on each branch; None: none.
        expand_proj: Where the block widens, whether its shortcut is a linear layer of the norm,
            pooled. If not, it is the max and the mean of each pooled cell, one behind the other
            (timm, `hiera.py`); the width must double then.
        drop_path: Probability that an image skips a branch.
        with_cp: Recompute both halves of the block in the backward pass, to save memory.
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
        with_cp: bool = False,
        rel_pos: Size | None = None,
    ) -> None:
        super().__init__()
        self.q_stride = q_stride
        self.with_cp = with_cp
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
            batch: B, images in the batch; in eval mode not used but for global attention.
            window: Tokens per window and axis.
            padding: What `windows.padding_mask` gives for the layout.
            is_global: Attend to all tokens of an image, none of which may be padding, and not to
                those of the window. With relative position, the window is the image.

        Returns:
            Tokens, shape (B*nW, N', C_out), N' smaller than N after q-pooling.
        """
        return self.transform(self.attend(x, batch, window, padding, is_global), batch)

    def attend(
        self,
        x: Tensor,
        batch: int,
        window: Size,
        padding: Tensor | None = None,
        is_global: bool = False,
    ) -> Tensor:
        """The first half of `forward`: attention, with pooling and widening."""
        if is_global:
            branch = self._half(self._attend, x, batch, window, padding)
            shortcut = self._half(self._shortcut, x, window, padding)
        else:
            branches, shortcuts = [], []
            for rows in slices(x) if self._recomputes() else WHOLE:
                part, hidden = x[rows], None if padding is None else padding[rows]
                branches.append(self._half(self._attend, part, part.shape[0], window, hidden))
                shortcuts.append(self._half(self._shortcut, part, window, hidden))
            branch, shortcut = joined(branches), joined(shortcuts) if self.widens else x
        return shortcut + self._drop(branch, batch)

    def transform(self, x: Tensor, batch: int) -> Tensor:
        """The second half of `forward`: the MLP, which works on each token by itself."""
        if not self._recomputes():
            return x + self._drop(self._transform(x), batch)
        tokens = x.flatten(0, -2)
        parts = [self._half(self._transform, tokens[rows]) for rows in slices(tokens)]
        return x + self._drop(joined(parts).view(x.shape), batch)

    def _half(self, work: Callable[..., Tensor], *args: Any) -> Tensor:
        return recomputed(work, *args) if self._recomputes() else work(*args)

    def _recomputes(self) -> bool:
        return self.with_cp and torch.is_grad_enabled()

    def _attend(self, x: Tensor, groups: int, window: Size, padding: Tensor | None) -> Tensor:
        """The branch of attention, shape (B*nW, N', C_out)."""
        qkv = self._after_norm(x, self.norm1, self.attn.qkv, padding)
        attended = self._linear(self.attn(qkv, groups, window, padding), self.attn.proj)
        return cast(Tensor, self.ls1(attended))

    def _transform(self, x: Tensor) -> Tensor:
        """The branch of the MLP, of the shape of x."""
        fc1, act, fc2 = cast(nn.Linear, self.mlp.fc1), self.mlp.act, cast(nn.Linear, self.mlp.fc2)
        if self._recomputes():
            y = fc2(act(fc1(self.norm2(x))))
        elif torch.is_grad_enabled():
            y = linear_after(act, self._after_norm(x, self.norm2, fc1), (), fc2)
        else:
            y = linear(linear(self.norm2(x), fc1, act), fc2)
        return cast(Tensor, self.ls2(y))

    def _linear(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """In a half that is recomputed PyTorch's own layer, before the last of which that stops."""
        return cast(Tensor, layer(x)) if self._recomputes() else linear(x, layer)

    def _after_norm(
        self, x: Tensor, norm: nn.LayerNorm, layer: nn.Linear, padding: Tensor | None = None
    ) -> Tensor:
        # Published weights expect windows to be padded with zeros after the norm, in every block.
        if self._recomputes() or type(norm) is not nn.LayerNorm:
            return self._linear(zero_padding(norm(x), padding), layer)

        def before(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return zero_padding(F.layer_norm(x, weight.shape, weight, bias, norm.eps), padding)

        return linear_after(before, x, (norm.weight, norm.bias), layer)

    def _shortcut(self, x: Tensor, window: Size, padding: Tensor | None) -> Tensor:
        """What the branch of attention is added to, shape (B*nW, N', C_out)."""
        if not self.widens:
            return x
        if self.proj is not None:
            x = self._after_norm(x, self.norm1, self.proj, padding)
            return x if self.q_stride is None else max_pool(x, window, self.q_stride, padding)
        if self.q_stride is None:
            return torch.cat((x, x), dim=-1)
        cells = (window, self.q_stride, padding)
        return torch.cat((max_pool(x, *cells), mean_pool(x, *cells)), dim=-1)

    @staticmethod
    def _scale(dim: int, initial: float | None) -> nn.Module:
        return nn.Identity() if initial is None else LayerScale(dim, initial)

    def _drop(self, x: Tensor, batch: int) -> Tensor:
        """Drop a branch for whole images, not for single windows."""
        if not self.training:
            return x
        return cast(Tensor, self.drop_path(x.reshape(batch, -1, x.shape[-1]))).view_as(x)
