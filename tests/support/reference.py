"""A slow, plain Hiera on `(B, H, W, C)` maps, window by window: the oracle where no peer runs.

It shares no code with the package: it reads an architecture and a state dict.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hiera_dense.model.arch import Arch

State = dict[str, Tensor]


def window_aware(table: Tensor, height: int, width: int, antialias: bool) -> Tensor:
    """A table (C, h, w) at another size: windows of 8 x 8 repeat, their means are interpolated."""
    rows, columns = table.shape[1] // 8, table.shape[2] // 8
    units = table.unflatten(1, (rows, 8)).unflatten(3, (columns, 8))  # (C, rows, 8, columns, 8)
    window = units.mean((1, 3))
    means = units.mean((2, 4)) - window.mean((1, 2))[:, None, None]
    rest = units - window[:, None, :, None] - means[:, :, None, :, None]
    resize = dict(mode="bicubic", antialias=antialias)
    smooth = F.interpolate(means[None], (height, width), **resize)[0]
    out = torch.empty(len(table), height, width, dtype=table.dtype)
    new = (math.ceil(height / 8), math.ceil(width / 8))
    for u in range(min(8, height)):
        for v in range(min(8, width)):
            plane = F.interpolate(rest[None, :, :, u, :, v], new, **resize)[0]
            there = out[:, u::8, v::8]
            there.copy_(plane[:, : there.shape[1], : there.shape[2]])
            there += window[:, u, v][:, None, None]
    return out + smooth


def position_embedding(arch: Arch, state: State, height: int, width: int) -> Tensor:
    """Shape (1, H, W, C)."""
    table = state["pos_embed"]
    if arch.pos_embed.kind == "absolute":
        side = math.isqrt(table.shape[1])
        table = table.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    antialias = arch.pos_embed.antialias
    if table.shape[2:] != (height, width) and arch.pos_embed.kind == "absolute":
        table = window_aware(table[0], height, width, antialias)[None]
    elif table.shape[2:] != (height, width):
        table = F.interpolate(table, (height, width), mode="bicubic", antialias=antialias)
    if arch.pos_embed.kind == "absolute_win":
        window = state["pos_embed_window"]
        rows = torch.arange(height) % window.shape[2]
        columns = torch.arange(width) % window.shape[3]
        table = table + window[:, :, rows][:, :, :, columns]
    return table.permute(0, 2, 3, 1)


def pool_cells(x: Tensor, height: int, width: int, mean: bool = False) -> Tensor:
    """2 x 2 pooling, max or mean, of the first `height` x `width` tokens of (H, W, C) alone."""
    out_h, out_w = (height + 1) // 2, (width + 1) // 2
    out = x.new_empty(out_h, out_w, x.shape[2])
    for i in range(out_h):
        for j in range(out_w):
            cell = x[2 * i : min(2 * i + 2, height), 2 * j : min(2 * j + 2, width)]
            tokens = cell.flatten(0, 1)
            out[i, j] = tokens.mean(0) if mean else tokens.max(0).values
    return out


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(x: Tensor, state: State, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)


def relative_position(q: Tensor, height: int, width: int, state: State) -> Tensor:
    """What queries (nH, h, w, D) add to their logits with H x W keys, shape (nH, h, w, H, W)."""
    out = q.new_empty(*q.shape[:3], height, width)
    step_h, step_w = (2 if n < m else 1 for n, m in zip(q.shape[1:3], (height, width), strict=True))
    rows, columns = (
        F.interpolate(state[f"attn.rel_pos_{axis}"].T[None], 2 * n - 1, mode="linear")[0].T
        for axis, n in (("h", height), ("w", width))
    )
    for i in range(q.shape[1]):
        for j in range(q.shape[2]):
            query = q[:, i, j].T  # (D, nH)
            for y in range(height):
                out[:, i, j, y] = (rows[i * step_h - y + height - 1] @ query)[:, None]
            for x in range(width):
                distance = columns[j * step_w - x + width - 1]
                out[:, i, j, :, x] += (distance @ query)[:, None]
    return out


def attend(window: Tensor, real: tuple[int, int], heads: int, pool: bool, state: State) -> Tensor:
    """Attention in one window (h, w, C), of which the first `real` tokens are in the image."""
    q, k, v = linear(window, state, "attn.qkv").chunk(3, dim=-1)
    channels = q.shape[-1]
    q = pool_cells(q, *real) if pool else q[: real[0], : real[1]]
    shape = q.shape[:2]
    q, k, v = (t.reshape(-1, heads, channels // heads).transpose(0, 1) for t in (q, k, v))
    logits = q @ k.transpose(1, 2) / math.sqrt(channels // heads)
    if "attn.rel_pos_h" in state:
        bias = relative_position(q.unflatten(1, shape), *window.shape[:2], state)
        logits += bias.reshape(logits.shape)
    weights = logits.softmax(-1)
    out = (weights @ v).transpose(0, 1).reshape(*shape, channels)
    return linear(out, state, "attn.proj")


def block(x: Tensor, side: tuple[int, int], heads: int, pool: bool, state: State) -> Tensor:
    """One block on one image (H, W, C), windows of `side`; (0, 0): global attention."""
    height, width, _ = x.shape
    y = norm(x, state, "norm1")
    if "proj.weight" in state:
        x = linear(y, state, "proj")
        x = pool_cells(x, height, width) if pool else x
    elif pool:
        x = torch.cat([pool_cells(x, height, width, mean) for mean in (False, True)], dim=-1)
    attended = torch.zeros_like(x)
    step_h, step_w = side[0] or height, side[1] or width
    factor = 2 if pool else 1
    for top in range(0, height, step_h):
        for left in range(0, width, step_w):
            here = y[top : top + step_h, left : left + step_w]
            real = (here.shape[0], here.shape[1])
            window = F.pad(here, (0, 0, 0, step_w - real[1], 0, step_h - real[0]))
            out = attend(window, real, heads, pool, state)
            i, j = top // factor, left // factor
            attended[i : i + out.shape[0], j : j + out.shape[1]] = out
    x = x + attended * state.get("ls1.gamma", 1.0)
    hidden = F.gelu(linear(norm(x, state, "norm2"), state, "mlp.fc1"))
    return x + linear(hidden, state, "mlp.fc2") * state.get("ls2.gamma", 1.0)


def stage_maps(arch: Arch, state: State, images: Tensor) -> list[Tensor]:
    """The map of each stage, shape (B, H, W, C)."""
    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    x = F.conv2d(images, weight, bias, arch.patch_stride, arch.patch_padding).permute(0, 2, 3, 1)
    x = x + position_embedding(arch, state, *x.shape[1:3])
    maps, index, heads = [], 0, arch.num_heads
    sides = [(w, w) if isinstance(w, int) else (w[0], w[1]) for w in arch.window_spec]
    side = sides[0]
    for stage, depth in enumerate(arch.stages):
        for first in (True, *[False] * (depth - 1)):
            pool = first and stage > 0
            own = {
                k.split(".", 2)[2]: v for k, v in state.items() if k.startswith(f"blocks.{index}.")
            }
            window = (0, 0) if index in arch.global_att_blocks else side
            x = torch.stack([block(image, window, heads * 2**stage, pool, own) for image in x])
            side = sides[stage]
            index += 1
        maps.append(x)
    return maps
