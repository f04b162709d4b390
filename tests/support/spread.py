"""Random weights of Mask2Former, under which queries differ and masks have edges."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 256  # px


def image(size: tuple[int, int]) -> Tensor:
    """An image with coarse and fine structure, as the hosts read it."""
    generator = torch.Generator().manual_seed(size[0])
    coarse = torch.randn(1, 3, 18, 18, generator=generator)
    fine = torch.randn(1, 3, *size, generator=generator)
    return (F.interpolate(coarse, size, mode="bicubic") * 80 + fine * 20 + 120).clamp(0, 255)


@torch.no_grad()
def spread_queries(model: Any, head: Any) -> None:
    """Keep queries apart, and spread their masks and classes around 0."""
    for layer in head.transformer_decoder.layers:
        for name, parameter in layer.named_parameters():
            if "out_proj" in name or "ffn" in name:
                parameter *= 0.2
    maps = model.extract_feat(image((SIDE, SIDE)))
    decoder = head.pixel_decoder
    decoder.mask_feature.bias -= decoder(maps)[0].mean((0, 2, 3))
    embedded: list[Tensor] = []
    handle = head.mask_embed.register_forward_hook(lambda *args: embedded.append(args[2][0]))
    head(maps, [])
    handle.remove()
    _spread(head.mask_embed[-1], embedded[-1], 0.2)
    _spread(head.cls_embed, head(maps, [])[0][-1][0], 1.5)


def _spread(layer: nn.Linear, outputs: Tensor, deviation: float) -> None:
    """Give the outputs of a layer the mean 0 and a standard deviation, over queries."""
    scale = deviation / outputs.std(0).mean()
    layer.bias -= outputs.mean(0)
    layer.bias *= scale
    layer.weight *= scale
