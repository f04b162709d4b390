"""The parts of a Hiera trunk: patch embedding, attention, block.

Parameter names are those of facebookresearch/hiera (`hiera.py`), so its weights fit.
"""

from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import DropPath, LayerScale, Mlp
from torch import Tensor, nn

from hiera_dense.windows import Layout, Size, max_pool, mean_pool, zero_padding

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
    """

    def __init__(self, dim: int, dim_out: int, num_heads: int, q_stride: Size | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_stride = q_stride
        self.qkv = nn.Linear(dim, 3 * dim_out)
        self.proj = nn.Linear(dim_out, dim_out)

    def forward(self, x: Tensor, groups: int, window: Size, padding: Tensor | None) -> Tensor:
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
        rows = len(x)
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # each (B*nW, N, C_out)
        if self.q_stride is not None:
            q = max_pool(q, window, self.q_stride, padding)  # (B*nW, N', C_out)
        q, k, v = (self._split_heads(t, groups) for t in (q, k, v))
        x = F.scaled_dot_product_attention(q, k, v)  # (groups, nH, N', D)
        x = x.transpose(1, 2).flatten(2)  # (groups, N', C_out)
        return cast(Tensor, self.proj(x.reshape(rows, -1, x.shape[-1])))

    def _split_heads(self, x: Tensor, groups: int) -> Tensor:
        x = x.reshape(groups, -1, self.num_heads, x.shape[-1] // self.num_heads)
        return x.transpose(1, 2)  # (groups, nH, N, D)


class HieraBlock(nn.Module):
    """A pre-norm transformer block; the first of a stage also pools and widens.

    Args:
        dim, dim_out: Channels of the input and of the output.
        num_heads: Heads of the attention.
        window: Tokens per window and axis before pooling; None: global attention.
        q_stride: Stride of the q-pooling; None: no pooling.
        layer_scale: Initial value of a learned factor on each branch; None: none.
        expand_proj: Where the block widens, whether its shortcut is a linear layer of the norm,
            pooled. If not, it is the max and the mean of each pooled cell, one behind the other
            (timm, `hiera.py`); the width must double then.
        drop_path: Probability that an image skips a branch.
    """

    def __init__(
        self,
        dim: int,
        dim_out: int,
        num_heads: int,
        window: Size | None,
        q_stride: Size | None = None,
        layer_scale: float | None = None,
        expand_proj: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.window = window
        self.q_stride = q_stride
        self.norm1 = LayerNorm(dim)
        self.attn = Attention(dim, dim_out, num_heads, q_stride)
        self.widens = dim != dim_out
        self.proj = nn.Linear(dim, dim_out) if self.widens and expand_proj else None
        self.ls1 = self._scale(dim_out, layer_scale)
        self.norm2 = LayerNorm(dim_out)
        self.mlp = Mlp(dim_out, 4 * dim_out)
        self.ls2 = self._scale(dim_out, layer_scale)
        self.drop_path = DropPath(drop_path)

    def layout(self, layout: Layout) -> Layout:
        """The layout that this block needs its tokens in, given the one they are in.

        Global attention takes any layout without padding, since the order of tokens does not matter
        to it; with q-pooling, one whose windows hold whole cells.
        """
        if self.window is not None:
            return Layout(layout.grid, self.window)
        whole_cells = self.q_stride is None or all(
            w % s == 0 for w, s in zip(layout.window, self.q_stride, strict=True)
        )
        if whole_cells and not layout.is_padded:
            return layout
        return Layout(layout.grid, layout.grid)

    def forward(self, x: Tensor, batch: int, window: Size, padding: Tensor | None) -> Tensor:
        """Transform tokens.

        Args:
            x: Tokens in the layout that `layout` gives, shape (B*nW, N, C).
            batch: B, images in the batch.
            window: Tokens per window and axis.
            padding: What `windows.padding_mask` gives for the layout.

        Returns:
            Tokens, shape (B*nW, N', C_out), N' smaller than N after q-pooling.
        """
        x = self.attend(x, batch, window, padding)
        return self.transform(x, batch)

    def attend(self, x: Tensor, batch: int, window: Size, padding: Tensor | None) -> Tensor:
        """The first half of `forward`: attention, with pooling and widening."""
        groups = batch if self.window is None else len(x)
        # Published weights expect windows to be padded with zeros after the norm, in every block.
        normed = zero_padding(self.norm1(x), padding)
        if self.widens:
            x = self._shortcut(x, normed, window, padding)
        return x + self._drop(self.ls1(self.attn(normed, groups, window, padding)), batch)

    def transform(self, x: Tensor, batch: int) -> Tensor:
        """The second half of `forward`: the MLP, which works on each token by itself."""
        return x + self._drop(self.ls2(self.mlp(self.norm2(x))), batch)

    def _shortcut(self, x: Tensor, normed: Tensor, window: Size, padding: Tensor | None) -> Tensor:
        """The shortcut of a block that widens, shape (B*nW, N', C_out)."""
        if self.proj is not None:
            x = self.proj(normed)
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
        return cast(Tensor, self.drop_path(x.reshape(batch, -1, x.shape[-1]))).view_as(x)
