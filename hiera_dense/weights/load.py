"""Loading weights: every parameter of the trunk is filled exactly once, or nothing is touched."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from hiera_dense.errors import CheckpointError, shown, some
from hiera_dense.model import pos_embed as positions
from hiera_dense.model.arch import Arch
from hiera_dense.model.variants import ARCHS
from hiera_dense.weights import download, files
from hiera_dense.weights.catalog import PERMISSIVE, WEIGHTS
from hiera_dense.weights.layouts import NOTHING, Content, recognise
from hiera_dense.weights.shapes import PATCHES, RELATIVE, State, fitting_archs, relative_of
from hiera_dense.weights.state_dicts import choose
from hiera_dense.weights.stored import require_dense, require_finite

_TRUNK = ("patch_embed.", "pos_embed", "blocks.")
_ZERO_AT_FIRST = ("pos_embed_global", RELATIVE)  # no published file has them


class Trunk(Protocol):
    """What is loaded into: `hiera_dense.model.hiera.Hiera`."""

    arch: Arch
    in_channels: int

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters by name."""


@dataclass(frozen=True)
class Report:
    """What was loaded; as a string, in two lines at most.

    Attributes:
        source: What the user called it.
        content: What the file held.
        filled: Parameters that were filled.
        changes: What was not taken as it is, in words.
        licence: Of the weights; None: unknown.
        others: Keys of further state dicts in the file, such as averaged weights (EMA).
    """

    source: str
    content: Content
    filled: int
    changes: tuple[str, ...]
    licence: str | None
    others: tuple[str, ...] = ()

    def log(self) -> None:
        """Tell it to the logger `hiera_dense`."""
        # A warning, since that is what Python shows where nobody set up logging.
        logging.getLogger("hiera_dense").warning("%s", self)

    def __str__(self) -> str:
        changes = "".join(f"; {change}" for change in self.changes)
        return (
            f"{self.source}: {self.content.layout}, {self.filled} parameters filled{changes}; "
            f"not used: {not_used(self.content, self.others)}\n"
            f"licence of these weights: {self.licence or 'unknown'}"
        )


def load_pretrained(
    model: nn.Module,
    source: str | Path,
    permissive_only: bool = False,
    prefix: str | None = None,
    key: str | None = None,
    **hub_options: Any,
) -> Report:
    """Fill a trunk, or a model with one, with pretrained weights.

    The file may have any layout that `layouts` knows: of facebookresearch/hiera (images, clips,
    MAE), timm, facebookresearch/sam2, transformers, or of a training with this package. What a
    model has outside its trunk (a classifier, an MAE decoder, output norms) is filled too where the
    file has it in the same shape; the report names what stays randomly initialised.

    Args:
        model: A `Hiera`, or a model that is one or has one as its `trunk` or `network`.
        source: A name in `catalog.WEIGHTS`, a file, a URL, or a hub id: see `download.understand`.
        permissive_only: Refuse weights that are not known to allow commercial use.
        prefix: Look only at names that start so, in a file with several trunks.
        key: Where the state dict stands in a file with several, such as `state_dict_ema`: see
            `state_dicts.choose`. The report names those that were not taken.
        **hub_options: For a repository of the hub: `revision`, `token`, `cache_dir`, ..., as for
            `huggingface_hub.hf_hub_download`.

    Returns:
        What was loaded. It is logged too (logger `hiera_dense`).

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The weights cannot be had, or are not those of this trunk: names are
            missing, unexpected or of another shape, or values are not finite. Nothing was filled.
        TypeError: The model has no Hiera trunk.
    """
    report = fill(model, source, permissive_only, prefix, key, **hub_options)
    report.log()
    return report


def fill(
    model: nn.Module,
    source: str | Path,
    permissive_only: bool = False,
    prefix: str | None = None,
    key: str | None = None,
    **hub_options: Any,
) -> Report:
    """`load_pretrained` without logging."""
    _trunk_of(model)  # or a file would be downloaded for nothing
    place = download.understand(source)
    if permissive_only and place.weight:
        require_permissive(place.said, place.weight.licence)
    path = download.locate(place, **hub_options)
    return fill_from(model, place, path, permissive_only, prefix, key)


def fill_from(
    model: nn.Module,
    place: download.Source,
    path: Path,
    permissive_only: bool = False,
    prefix: str | None = None,
    key: str | None = None,
) -> Report:
    """`fill`, once the file of a source is there."""
    trunk = _trunk_of(model)
    checkpoint, metadata = files.read(path)
    licence = place.weight.licence if place.weight else metadata.get("licence")
    if permissive_only:
        require_permissive(place.said, licence)
    try:
        chosen = choose(checkpoint, key)
        content = recognise(chosen.state, prefix)
        state, changes = fit(content.trunk, trunk)
        own = _beside_trunk(model, trunk)
        found = {
            name: theirs
            for name, theirs in content.beside_as(own).items()
            if not content.beside[theirs].is_nested
            and content.beside[theirs].shape == own[name].shape
        }
        beside = {theirs: content.beside[theirs] for theirs in found.values()}
        require_dense(beside)
        require_finite(beside, {theirs: own[name] for name, theirs in found.items()})
    except CheckpointError as error:
        raise CheckpointError(f"{place.said}: {error}") from None
    if found:
        changes = (*changes, f"{len(found)} of them in the head or decoder")
    if anew := [name for name in own if name not in found]:
        changes = (*changes, f"randomly initialised: {some(anew)}")
    if chosen.key and (key or chosen.others):
        changes = (*changes, f"from the key {chosen.key}")
    trunk_own = trunk.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            trunk_own[name].copy_(value)
        for name, theirs in found.items():
            own[name].copy_(content.beside[theirs])
    used = set(found.values())
    left = {name: tensor for name, tensor in content.beside.items() if name not in used}
    return Report(
        place.said,
        replace(content, beside=left),
        len(state) + len(found),
        changes,
        licence,
        chosen.others,
    )


def not_used(content: Content, others: Sequence[str]) -> str:
    """What a file holds besides what is taken, in words.

    Args:
        content: Of the state dict that is taken.
        others: Keys of further state dicts.
    """
    keys = [f"the key {shown(key)}" for key in others]
    left = content.left_over
    return ", ".join(keys if keys and left == NOTHING else [left, *keys])


def _trunk_of(model: nn.Module) -> Any:
    trunk = getattr(model, "trunk", getattr(model, "network", model))
    if not isinstance(getattr(trunk, "arch", None), Arch):
        raise TypeError(f"a {type(model).__name__}; expected a Hiera, or a model with one")
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise CheckpointError("the model is on the meta device, which keeps no values")
    return trunk


def fit(weights: Mapping[str, Tensor], trunk: Trunk) -> tuple[State, tuple[str, ...]]:
    """What a trunk's parameters become, given weights under our names; changes nothing.

    Args:
        weights: Tensors of a trunk, as in `layouts.Content`.
        trunk: What they are for.

    Returns:
        A value for each parameter, and in words what is not as it is in the weights.

    Raises:
        CheckpointError: They do not fit.
    """
    state, changes = dict(weights), []
    own = {name: t for name, t in trunk.state_dict().items() if name.startswith(_TRUNK)}
    for pattern in _ZERO_AT_FIRST:
        names = [name for name in own if re.fullmatch(pattern, name)]
        if names and not any(name in state for name in names):
            state |= {name: torch.zeros_like(own[name]) for name in names}
            changes.append(f"{some(names)} {'start' if len(names) > 1 else 'starts'} at zero")
    axes = own[PATCHES].ndim
    if state[PATCHES].ndim == axes and (given := state[PATCHES].shape[1]) != trunk.in_channels:
        state[PATCHES] = _adapt_channels(state[PATCHES], trunk.in_channels)
        changes.append(f"patch embedding adapted from {given} channels to {trunk.in_channels}")
    if trunk.arch.pos_embed.kind == "absolute_win" and "pos_embed_window" not in state:
        state |= _absolute_win(state, trunk.arch)
        changes.append("absolute position table read as absolute win")
    _require_same_shapes(state, own, weights)
    require_finite(state, own)
    for name in fitting_archs(dict(weights)):
        changes += _invisible_differences(trunk.arch, name)
    return state, tuple(changes)


def _invisible_differences(arch: Arch, name: str) -> list[str]:
    """What makes another network of the same shapes, in words."""
    known = ARCHS[name]
    pairs = {
        "num_heads": (arch.num_heads, known.num_heads),
        "antialias": (arch.pos_embed.antialias, known.pos_embed.antialias),
    }
    return [
        f"{k} {own}, where arch {name!r} has {its}" for k, (own, its) in pairs.items() if own != its
    ]


def require_permissive(said: str, licence: str | None) -> None:
    """Refuse weights that are not known to allow commercial use.

    Raises:
        CheckpointError: They are not; `said` is what the user called them.
    """
    if licence == PERMISSIVE:
        return
    names = ", ".join(name for name, weight in WEIGHTS.items() if weight.licence == PERMISSIVE)
    raise CheckpointError(
        f"{said}: licence {licence or 'unknown'}, and permissive_only is set; expected one of "
        f"{names}, or a file that says licence {PERMISSIVE} in its metadata "
        "(`hiera-dense convert --licence`)"
    )


def _adapt_channels(weight: Tensor, in_channels: int) -> Tensor:
    """timm's rule: sum for one channel, else repeat the three and scale; clips frame by frame."""
    if weight.shape[1] != 3:
        raise CheckpointError(
            f"patch embedding for {weight.shape[1]} channels, in_channels is {in_channels}; "
            "expected as many, or weights for 3 channels, which can be adapted"
        )
    flat = weight.flatten(2).unsqueeze(2)  # (C, 3, 1, pixels)
    adapted: Tensor = adapt_input_conv(in_channels, flat)
    return adapted.reshape(len(weight), in_channels, *weight.shape[2:])


def _absolute_win(state: Mapping[str, Tensor], arch: Arch) -> State:
    """The two parts of an absolute table that is a square of whole mask units."""
    table = state.get("pos_embed")
    side = round(table.shape[1] ** 0.5) if table is not None and table.ndim == 3 else 0
    if table is None or side * side != table.shape[1] or any(side % u for u in arch.mask_unit):
        return {}
    units = side // arch.mask_unit[0], side // arch.mask_unit[1]
    square = table.reshape(1, side, side, -1)
    whole, window = positions.as_absolute_win(square, arch.mask_unit)
    # The global part is as large as the trunk's; that of the table is one value per mask unit.
    size = arch.pos_embed.table_size
    if size != units:
        whole = positions.interpolate(whole.movedim(1, -1), size).movedim(-1, 1)
    return {"pos_embed": whole, "pos_embed_window": window}


def _require_same_shapes(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> None:
    shared = [name for name in own if name in state]
    problems = {
        "missing": [name for name in own if name not in state],
        "unexpected": [name for name in state if name not in own],
        "of another shape": [
            f"{name} {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
            for name in shared
            if state[name].shape != own[name].shape
        ],
    }
    if not any(problems.values()):
        return
    lines = [f"{what}: {some(names)}" for what, names in problems.items() if names]
    archs, relative = fitting_archs(dict(weights)), relative_of(dict(weights))
    fits = [f"arch {' or '.join(map(repr, archs))}"] if archs else []
    fits += [f"{field} {relative[field]}" for field in ("rel_pos", "global_att_blocks") if relative]
    hint = f"these weights fit {', '.join(fits)}" if fits else ""
    raise CheckpointError(
        "not the weights of this trunk; " + "; ".join(lines) + (f"; {hint}" if hint else "")
    )


def _beside_trunk(model: nn.Module, trunk: nn.Module) -> State:
    """What a model has beside the parameters of a trunk."""
    if trunk is not model and trunk is not getattr(model, "network", None):
        return {n: t for n, t in model.state_dict().items() if not n.startswith("trunk.")}
    return {n: t for n, t in trunk.state_dict().items() if not n.startswith(_TRUNK)}
