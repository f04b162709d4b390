"""Networks to compare, by name: ours, other people's Hiera, the hosts' backbones, whole configs."""

import functools
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hiera_dense.model.variants import ARCHS

Size = tuple[int, int]
Forward = Callable[[Tensor], Any]
HELP = """\
ours:ARCH[:WINDOWS[:GLOBAL[:cp or mlp]]]  e.g. ours:base:auto:20 or ours:base:8,4,16,8:12,16,20:cp
with:WHAT:...      ours with something else (docs/performance.md). On a CPU: sdpa (no attention by
                   products), mlp (no MLPs by oneDNN), plain (neither). On a GPU: triton (layer
                   norm), maximum (in place of amax)
fair:ARCH          Hiera of hiera-transformer (tiny, small, base, ...)
transformers:ARCH  Hiera of transformers
timm:ARCH          Hiera of timm
hieradet:ARCH      HieraDet of timm, windows 8, 4, 14, 7 and three global blocks
timm:NAME          any other model of timm that gives features
mmdet:NAME         a backbone of MMDetection: swin_t, swin_s, pvt_v2_b2, resnet50
config:FILE        a whole detector or segmenter, from a config of a host"""

_HOSTS: Mapping[str, dict[str, Any]] = {
    "swin_t": dict(type="SwinTransformer", depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24]),
    "swin_s": dict(type="SwinTransformer", depths=[2, 2, 18, 2], num_heads=[3, 6, 12, 24]),
    "pvt_v2_b2": dict(type="PyramidVisionTransformerV2", embed_dims=64, num_layers=[3, 4, 6, 3]),
    "resnet50": dict(type="ResNet", depth=50),
}
WIDTHS: Mapping[str, dict[str, Any]] = {
    "tiny": dict(depths=[1, 2, 7, 2]),
    "small": dict(depths=[1, 2, 11, 2]),
    "base": dict(),
    "base_plus": dict(embed_dim=112, num_heads=[2, 4, 8, 16]),
    "large": dict(embed_dim=144, num_heads=[2, 4, 8, 16], depths=[2, 6, 36, 4]),
    "huge": dict(embed_dim=256, num_heads=[4, 8, 16, 32], depths=[2, 6, 36, 4]),
}
_GLOBAL = {"small": (7, 10, 13), "base": (12, 16, 20), "large": (23, 33, 43)}


def build(name: str, size: Size) -> tuple[nn.Module, Forward]:
    """A network with random weights, and what makes feature maps (or results) of images with it.

    Args:
        name: As in `HELP`.
        size: Height and width of the images, in pixels, for those that must know it.

    Raises:
        ValueError: No such name.
        Exception: Whatever it raises that cannot have this size.
    """
    warnings.simplefilter("ignore")
    kind, _, rest = name.partition(":")
    if kind not in _BUILDERS:
        raise ValueError(f"unknown contestant {name!r}; expected one of\n{HELP}")
    return _BUILDERS[kind](rest, size)


def _ours(rest: str, size: Size) -> tuple[nn.Module, Forward]:
    from hiera_dense.model.hiera import Hiera

    arch, windows, blocks, cp, *_ = (*rest.split(":"), "", "", "")
    spec: Any = windows if windows == "auto" else (_ints(windows) or None)
    chosen = None if not blocks else () if blocks == "none" else _ints(blocks)
    recompute: Any = "mlp" if cp == "mlp" else bool(cp)
    trunk = Hiera(arch, window_spec=spec, global_att_blocks=chosen, with_cp=recompute)
    return trunk, lambda x: trunk(x, return_intermediates=True)[1]


def _with(rest: str, size: Size) -> tuple[nn.Module, Forward]:
    """Ours, with something else in place of a part."""
    from hiera_dense.model import cpu, layers

    what, _, ours = rest.partition(":")
    if what in ("sdpa", "mlp", "plain"):
        if what != "mlp":
            cpu.prefers_products = lambda q: False
        if what != "sdpa":
            cpu.prefers_fused_mlp = lambda mlp, x: False
    elif what == "triton":
        from tools.bench import norm_kernel

        setattr(layers, "LayerNorm", norm_kernel.LayerNorm)  # noqa: B010  # for types
    elif what == "maximum":
        setattr(layers, "max_pool", _max_pool_by_pairs)  # noqa: B010
    else:
        raise ValueError(f"with {what!r}; expected sdpa, mlp, plain, triton or maximum")
    return _ours(ours, size)


def _max_pool_by_pairs(
    x: Tensor, window: Sequence[int], stride: Sequence[int], padding: Tensor | None = None
) -> Tensor:
    """`windows.max_pool` where the stride divides the window, by maxima of two tensors."""
    if padding is not None:
        x = x.masked_fill(padding, -torch.inf)
    sides = [n for side, by in zip(window, stride, strict=True) for n in (side // by, by)]
    cells = x.reshape(len(x), *sides, x.shape[-1])
    for axis in range(2, 2 + len(window)):
        cells = functools.reduce(torch.maximum, cells.unbind(axis))
    cells = cells.reshape(len(x), -1, x.shape[-1])
    return cells if padding is None else cells.masked_fill(cells == -torch.inf, 0.0)


def _ints(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


def _fair(arch: str, size: Size) -> tuple[nn.Module, Forward]:
    import hiera

    model = getattr(hiera, f"hiera_{arch}_224")(input_size=size)
    return model, lambda x: model(x, return_intermediates=True)[1]


def _transformers(arch: str, size: Size) -> tuple[nn.Module, Forward]:
    from transformers import HieraConfig, HieraModel

    model = HieraModel(HieraConfig(image_size=list(size), **WIDTHS[arch]), add_pooling_layer=False)
    return model, lambda x: list(model(x, output_hidden_states=True).reshaped_hidden_states)


def _timm(name: str, size: Size) -> tuple[nn.Module, Forward]:
    import timm

    if name in ARCHS:
        hiera: Any = timm.create_model(f"hiera_{name}_224", img_size=size)
        return hiera, lambda x: hiera.forward_intermediates(x, intermediates_only=True)
    sized: dict[str, Any] = dict(img_size=size) if "swin" in name else {}
    model = timm.create_model(name, features_only=True, **sized)
    return model, model


def _hieradet(arch: str, size: Size) -> tuple[nn.Module, Forward]:
    import timm
    from timm.models.hieradet_sam2 import HieraDet

    if arch in _GLOBAL:
        of = ARCHS[arch]
        model: Any = HieraDet(
            embed_dim=of.embed_dim,
            num_heads=of.num_heads,
            stages=tuple(of.stages),
            global_att_blocks=_GLOBAL[arch],
            window_spec=(8, 4, 14, 7),
        )
    else:
        model = timm.create_model(f"sam2_hiera_{arch}")
    return model, lambda x: model.forward_intermediates(x, intermediates_only=True)


def _mmdet(name: str, size: Size) -> tuple[nn.Module, Forward]:
    from mmdet.registry import MODELS

    if name not in _HOSTS:
        raise ValueError(f"unknown backbone {name!r}; known: {', '.join(_HOSTS)}")
    model: nn.Module = MODELS.build(_HOSTS[name])
    return model, lambda x: list(model(x))


def _config(path: str, size: Size) -> tuple[nn.Module, Forward]:
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    if "backbone" in cfg.model:
        cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    sample = sample_of(cfg.default_scope)
    shapes = dict(img_shape=size, ori_shape=size, pad_shape=size)
    meta = shapes | dict(scale_factor=(1.0, 1.0), img_path="")

    def forward(x: Tensor) -> Any:
        samples = [sample(metainfo=meta) for _ in x]
        return model.test_step(dict(inputs=list(x.mul(60).add(120).byte()), data_samples=samples))

    return model, forward


def sample_of(scope: str) -> Any:
    """The class of what a host knows of an image, `mmdet` or `mmseg`."""
    if scope == "mmdet":
        from mmdet.structures import DetDataSample

        return DetDataSample
    from mmseg.structures import SegDataSample

    return SegDataSample


_BUILDERS: Mapping[str, Callable[[str, Size], tuple[nn.Module, Any]]] = {
    "ours": _ours,
    "with": _with,
    "fair": _fair,
    "transformers": _transformers,
    "timm": _timm,
    "hieradet": _hieradet,
    "mmdet": _mmdet,
    "config": _config,
}
