"""Whether the parts of a detector or segmenter fit each other: the maps that each gives and takes.

Backbone and neck run once on an image that has a size but no pixels, so this costs nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hiera_dense.errors import InputError, SetupError

_SIDE = 256  # px of the image
_HEADS = ("rpn_head", "bbox_head", "mask_head", "semantic_head", "panoptic_head")
_ANCHORED = ("rpn_head", "bbox_head")  # have anchors or points on each map
_SEGMENTATION_HEADS = ("decode_head", "auxiliary_head")


@dataclass(frozen=True)
class _Maps:
    """What a backbone or a neck gives.

    Attributes:
        maps: One for each level, without values.
        source: What gives them, in words.
    """

    maps: list[Tensor]
    source: str

    @property
    def channels(self) -> list[int]:
        return [m.shape[1] for m in self.maps]


def check_model(model: nn.Module, cfg: Mapping[str, Any]) -> None:
    """Compare what backbone, neck and heads of a model of the hosts give and take.

    What cannot be known of a backbone, neck or head of somebody else is taken as right.

    Args:
        model: The detector or segmenter.
        cfg: Its config.

    Raises:
        SetupError: Channels, or the number of maps, differ; the message has both. Or RoI heads
            would get maps that mmcv reads wrongly.
    """
    given = _given_by(model, cfg)
    if given is None:
        return
    for name in _HEADS:
        if (head := getattr(model, name, None)) is not None:
            _check_head(name, head, cfg.get(name) or {}, given)
    for name in _SEGMENTATION_HEADS:
        settings = dict(_each(name, cfg.get(name)))
        for place, head in _each(name, getattr(model, name, None)):
            _check_segmentation_head(place, head, settings[place], given)
    if (roi_head := getattr(model, "roi_head", None)) is not None:
        for kind in ("bbox", "mask"):
            _check_roi_head(roi_head, kind, given)
    _check_transformer(model, given)


def _check_transformer(model: Any, given: _Maps) -> None:
    """Compare the maps with those that DETR and the models made after it were built for."""
    width = getattr(model, "embed_dims", None)
    if width is not None and _differ(width, given.channels):
        raise SetupError(
            f"embed_dims {width} of the transformer, {given.source} gives maps of {given.channels} "
            "channels; expected the same"
        )
    levels = getattr(model, "num_feature_levels", None)
    if levels not in (None, len(given.maps)):
        raise SetupError(
            f"num_feature_levels {levels}, {given.source} gives {len(given.maps)} maps; expected "
            "as many"
        )


def _given_by(model: Any, cfg: Mapping[str, Any]) -> _Maps | None:
    """The maps that heads get; None where backbone or neck do not tell."""
    if (backbone := getattr(model, "backbone", None)) is None:
        return None
    kernel = next((p for p in backbone.parameters() if p.ndim > 2), None)
    trunk = getattr(backbone, "trunk", backbone)
    channels = getattr(trunk, "in_channels", 3 if kernel is None else kernel.shape[1])
    with FakeTensorMode():
        image = torch.empty(2, channels, _SIDE, _SIDE, device=getattr(kernel, "device", None))
    maps = _run(backbone, image)
    if not _are_maps(maps):
        return None
    given = _Maps(list(maps), "the backbone")
    if getattr(model, "neck", None) is None:
        return given
    maps = _run(model.neck, tuple(given.maps))
    if isinstance(maps, Exception):
        _tell_of_neck(cfg["neck"], given, maps)
    return _Maps(list(maps), "the neck") if _are_maps(maps) else None


def _run(module: nn.Module, inputs: Any) -> Any:
    """What a module gives, without computing it; or the error that it ends with."""
    modes = {part: part.training for part in module.modules()}
    try:
        module.eval()  # which of the hosts' modules some return nothing from
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            return module(inputs)
    except Exception as error:  # code of others raises anything where it needs values
        return error
    finally:
        for part, mode in modes.items():
            part.training = mode


def _are_maps(result: Any) -> bool:
    if not isinstance(result, list | tuple) or not result:
        return False
    return all(isinstance(m, Tensor) and m.ndim == 4 for m in result)


def _tell_of_neck(cfg: Any, given: _Maps, error: Exception) -> None:
    """Say why a neck cannot take the maps of a backbone, if it is known."""
    if isinstance(error, InputError):
        raise error
    settings = cfg[0] if isinstance(cfg, list | tuple) else cfg
    declared = settings.get("in_channels")
    # One number may be that of the only map that a neck takes.
    is_one = isinstance(declared, int) and declared in given.channels
    if declared is not None and not is_one and _differ(declared, given.channels):
        raise SetupError(
            f"neck.in_channels {declared}, the backbone gives maps of {given.channels} channels; "
            "expected the same"
        )
    if isinstance(error, AssertionError | IndexError):
        names = ("start_level", "end_level", "num_outs")
        said = ", ".join(f"{name}={settings[name]}" for name in names if name in settings)
        raise SetupError(
            f"neck of {len(given.maps)} maps with {said}; expected levels that there are"
        )


def _differ(declared: Any, channels: list[int]) -> bool:
    """Whether declared channels, a list or one number for all maps, are others than those given."""
    if isinstance(declared, list | tuple):
        return list(declared) != channels
    return set(channels) != {declared}


def _check_head(name: str, head: Any, cfg: Mapping[str, Any], given: _Maps) -> None:
    declared = cfg.get("in_channels")
    if declared is not None and _differ(declared, given.channels) and _fails(head, given):
        raise SetupError(
            f"{name}.in_channels {declared}, {given.source} gives maps of {given.channels} "
            "channels; expected the same"
        )
    levels = getattr(getattr(head, "prior_generator", None), "num_levels", None)
    if name in _ANCHORED and levels not in (None, len(given.maps)):
        raise SetupError(
            f"{name} has strides for {levels} maps, {given.source} gives {len(given.maps)}; "
            "expected as many"
        )


def _fails(head: nn.Module, given: _Maps) -> bool:
    return isinstance(_run(head, tuple(given.maps)), Exception)


def _each(name: str, heads: Any) -> Iterator[tuple[str, Any]]:
    """The heads of a list, or the only one, by their place."""
    if isinstance(heads, list | tuple | nn.ModuleList):
        yield from ((f"{name}[{i}]", head) for i, head in enumerate(heads))
    elif heads is not None:
        yield name, heads


def _check_segmentation_head(place: str, head: Any, cfg: Mapping[str, Any], given: _Maps) -> None:
    if not hasattr(head, "in_index"):  # takes all maps, as Mask2Former's does
        _check_head(place, head, cfg, given)
        return
    several = isinstance(head.in_index, list | tuple)
    indices = head.in_index if several else [head.in_index]
    count = len(given.maps)
    if not all(-count <= i < count for i in indices):
        raise SetupError(
            f"{place}.in_index {head.in_index}, {given.source} gives {count} maps; expected "
            f"{-count} to {count - 1}"
        )
    taken = [given.channels[i] for i in indices]
    declared = cfg.get("in_channels", head.in_channels)
    if _differ(declared, taken) and _fails(head, given):
        raise SetupError(
            f"{place}.in_channels {declared}, {given.source} gives maps of {given.channels} "
            f"channels, of which in_index {head.in_index} takes {taken if several else taken[0]}; "
            "expected the same"
        )


def _check_roi_head(roi_head: Any, kind: str, given: _Maps) -> None:
    """Compare the channels of maps, of what is cut out of them, and of what a head takes."""
    if getattr(roi_head, "with_shared_head", False):
        return
    heads = dict(_each(f"{kind}_head", getattr(roi_head, f"{kind}_head", None)))
    extractors = [e for _, e in _each("", getattr(roi_head, f"{kind}_roi_extractor", None))]
    for (place, head), extractor in zip(heads.items(), extractors, strict=False):
        if type(extractor).__name__ not in ("SingleRoIExtractor", "Float32RoIExtractor"):
            continue
        levels = given.channels[: extractor.num_inputs]
        if not all(m.is_contiguous() for m in given.maps[: extractor.num_inputs]):
            raise SetupError(
                f"{given.source} gives maps that lie in memory as NHWC, which the RoIAlign of mmcv "
                "reads as NCHW; expected contiguous maps: no norm such as LN2d may be last"
            )
        # With one map an extractor passes its channels on, whatever it declares.
        cut = extractor.out_channels if len(levels) > 1 else levels[0]
        if _differ(cut, levels):
            raise SetupError(
                f"roi_head.{kind}_roi_extractor.out_channels {cut}, {given.source} gives maps of "
                f"{levels} channels; expected the same"
            )
        if (declared := getattr(head, "in_channels", cut)) != cut:
            raise SetupError(
                f"roi_head.{place}.in_channels {declared}, its roi_extractor gives {cut}; expected "
                "the same"
            )
