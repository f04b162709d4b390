"""Other people's models with random weights, saved as their authors save them."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import hiera
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (
    HieraConfig,
    HieraForImageClassification,
    HieraForPreTraining,
    HieraModel,
    Sam2HieraDetConfig,
    Sam2HieraDetModel,
)

from hiera_dense.model.variants import ARCHS
from support.common import randomize
from tools.bench.contestants import WIDTHS

Builder = Callable[..., nn.Module]

IMAGES: dict[str, Builder] = {
    "tiny": hiera.hiera_tiny_224,
    "small": hiera.hiera_small_224,
    "base": hiera.hiera_base_224,
    "base_plus": hiera.hiera_base_plus_224,
    "large": hiera.hiera_large_224,
    "huge": hiera.hiera_huge_224,
}
MAE: dict[str, Builder] = {
    "tiny": hiera.mae_hiera_tiny_224,
    "small": hiera.mae_hiera_small_224,
    "base": hiera.mae_hiera_base_224,
    "base_plus": hiera.mae_hiera_base_plus_224,
    "large": hiera.mae_hiera_large_224,
    "huge": hiera.mae_hiera_huge_224,
}
CLIPS: dict[str, Builder] = {
    "base_16x224": hiera.hiera_base_16x224,
    "base_plus_16x224": hiera.hiera_base_plus_16x224,
    "large_16x224": hiera.hiera_large_16x224,
    "huge_16x224": hiera.hiera_huge_16x224,
}
MAE_CLIPS: dict[str, Builder] = {
    "base_16x224": hiera.mae_hiera_base_16x224,
    "base_plus_16x224": hiera.mae_hiera_base_plus_16x224,
    "large_16x224": hiera.mae_hiera_large_16x224,
    "huge_16x224": hiera.mae_hiera_huge_16x224,
}
_TRANSFORMERS = {"base": HieraModel, "classifier": HieraForImageClassification}
_TRANSFORMERS["mae"] = HieraForPreTraining


def fair(build: Builder, **kwargs: Any) -> nn.Module:
    """A model of facebookresearch/hiera."""
    peer = build(**kwargs).eval()
    randomize(peer)
    return peer


FEW = (1, 1, 2, 1)  # blocks per stage, with all code paths


def few_blocks(arch: str, model: type[nn.Module], **kwargs: Any) -> nn.Module:
    """A class of facebookresearch/hiera with the widths of a published arch, but few blocks."""
    clips = dict(
        input_size=(16, 224, 224),
        mask_unit_size=(1, 8, 8),
        q_stride=(1, 2, 2),
        patch_kernel=(3, 7, 7),
        patch_stride=(2, 4, 4),
        patch_padding=(1, 3, 3),
        sep_pos_embed=True,
        num_classes=400,
    )
    known = ARCHS[arch]
    widths = dict(embed_dim=known.embed_dim, num_heads=known.num_heads, stages=FEW)
    return model(**widths, **clips if arch in CLIPS else {}, **kwargs)


def few_blocks_of_ours(arch: str) -> dict[str, Any]:
    """The fields of an arch of these shapes."""
    return asdict(replace(ARCHS[arch], stages=FEW))


def of_timm(name: str, **kwargs: Any) -> nn.Module:
    """A model of timm."""
    peer: nn.Module = timm.create_model(name, **kwargs).eval()
    randomize(peer)
    return peer


def of_transformers(arch: str, kind: str = "base") -> nn.Module:
    """A model of transformers: `base`, `classifier` or `mae`."""
    config = dict(WIDTHS[arch])
    if kind == "mae":
        config |= dict(num_query_pool=2, decoder_hidden_size=512, decoder_depth=8)
        config |= dict(decoder_num_heads=16)
    peer = _TRANSFORMERS[kind](HieraConfig(**config)).eval()
    randomize(peer)
    return peer


def sam2_of_transformers(**kwargs: Any) -> nn.Module:
    """The trunk of SAM 2, tiny, of transformers."""
    peer = Sam2HieraDetModel(Sam2HieraDetConfig(**kwargs)).eval()
    randomize(peer)
    return peer


def save_fair(peer: nn.Module, folder: Path) -> Path:
    """As in facebookresearch/hiera's model zoo."""
    torch.save({"model_state": peer.state_dict()}, folder / "fair.pth")
    return folder / "fair.pth"


def save_bare(peer: nn.Module, folder: Path) -> Path:
    """As on the hub: timm, and facebookresearch/hiera in safetensors."""
    state = {name: tensor.contiguous() for name, tensor in peer.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    return folder / "model.safetensors"


def save_transformers(peer: nn.Module, folder: Path) -> Path:
    """As transformers saves them."""
    peer.save_pretrained(folder)  # type: ignore[operator]
    return folder / "model.safetensors"


def save_sam2(trunk: nn.Module, folder: Path) -> Path:
    """As in facebookresearch/sam2, whose MLPs have other names than timm's; with a head of SAM."""
    state = {
        "image_encoder.trunk."
        + name.replace("mlp.fc1", "mlp.layers.0").replace("mlp.fc2", "mlp.layers.1"): tensor
        for name, tensor in trunk.state_dict().items()
        if not name.startswith("head.")
    }
    state["image_encoder.neck.convs.0.conv.weight"] = torch.zeros(256, 768, 1, 1)
    state["sam_mask_decoder.iou_token.weight"] = torch.zeros(1, 256)
    torch.save({"model": state}, folder / "sam2.pt")
    return folder / "sam2.pt"
