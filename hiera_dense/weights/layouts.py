"""Layouts of Hiera weights: whose names a state dict uses, and the way to ours and back.

Pure functions from dict to dict. Our names are those of facebookresearch/hiera and, for the window
part of absolute win, of facebookresearch/sam2, so most of it is renaming a few.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hiera_dense.errors import CheckpointError, shown, some
from hiera_dense.weights.shapes import PATCHES, RELATIVE, State, arch_of, fitting_archs, stages_of
from hiera_dense.weights.stored import require_dense

NOTHING = "nothing"
_TRANSFORMERS = "embeddings.patch_embeddings.projection.weight"
_TRANSFORMERS_SAM2 = "patch_embed.projection.weight"
# What stands beside a trunk without a prefix: classifiers, MAE decoders, norms of feature maps.
_HEADS = re.compile(
    r"(norm|head|encoder_norm|mask_token|decoder\w*|multi_scale_fusion_heads|multiscale_fusion|"
    r"pooler|classifier|hidden_states_norms)(\.|$)"
)
# Head and decoder names: (pattern in other projects, our name, as in facebookresearch/hiera).
_BESIDE = (
    (r"head\.norm\.", "norm."),  # timm
    (r"head\.fc\.", "head.projection."),
    (r"pooler\.layernorm\.", "norm."),  # transformers
    (r"classifier\.", "head.projection."),
    (r"multiscale_fusion\.", ""),
    (r"decoder\.decoder_block\.layers\.", "decoder_blocks."),
    (r"decoder\.decoder_embeddings\.", "decoder_embed."),
    (r"decoder\.decoder_position_embeddings", "decoder_pos_embed"),
    (r"decoder\.(mask_token|decoder_norm|decoder_pred)", r"\1"),
    (r"(decoder_blocks\.\d+)\.layernorm_before\.", r"\1.norm1."),
    (r"(decoder_blocks\.\d+)\.layernorm_after\.", r"\1.norm2."),
)
_LAYER = re.compile(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(.+)")
_LAYER_NAMES = {"layernorm_before": "norm1", "layernorm_after": "norm2"}
_EMBEDDING_NAMES = {
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
}
# Parts of names that are others' for ours: facebookresearch/sam2, and transformers' SAM 2.
_PARTS = {
    ".mlp.layers.0.": ".mlp.fc1.",
    ".mlp.layers.1.": ".mlp.fc2.",
    ".mlp.proj_in.": ".mlp.fc1.",
    ".mlp.proj_out.": ".mlp.fc2.",
    ".layer_norm1.": ".norm1.",
    ".layer_norm2.": ".norm2.",
    "patch_embed.projection.": "patch_embed.proj.",
}


@dataclass(frozen=True)
class Content:
    """What a state dict holds.

    Attributes:
        layout: Whose names it uses, in words.
        prefix: What stands before the names of the trunk.
        trunk: Tensors of the trunk, under our names.
        beside: Everything else, under its own names.
    """

    layout: str
    prefix: str
    trunk: State
    beside: State

    def beside_as(self, wanted: Iterable[str]) -> dict[str, str]:
        """Where the parameters that a model has beside its trunk stand in `beside`.

        Args:
            wanted: Their names in the model: output norms, a classifier, an MAE decoder.

        Returns:
            The names in `beside` by those in the model, of those that are there.
        """
        start = self.prefix.removesuffix("trunk.")
        found = {_our_name(name.removeprefix(start)): name for name in self.beside}
        return {name: found[name] for name in wanted if name in found}

    @property
    def left_over(self) -> str:
        """What stands beside the trunk, by first name, with the number of tensors."""
        groups = Counter(name.split(".")[0] for name in self.beside)
        return (
            ", ".join(f"{shown(group)} ({n})" for group, n in list(groups.items())[:20]) or NOTHING
        )


def recognise(state: State, prefix: str | None = None) -> Content:
    """Find the trunk in a state dict.

    Args:
        state: Tensors by name.
        prefix: Look only at names that start so; None: at all.

    Raises:
        CheckpointError: There is no Hiera trunk in it, or more than one, or a tensor of it is not
            dense and floating.
    """
    found = {
        name.removesuffix(marker): marker
        for name in state
        for marker in (PATCHES, _TRANSFORMERS, _TRANSFORMERS_SAM2)
        if name.endswith(marker) and name.startswith(prefix or "")
        # Swin of mmdet has patches of that name too.
        if marker != _TRANSFORMERS_SAM2 or name.removesuffix(marker) + "pos_embed_window" in state
    }
    if len(found) != 1:
        raise CheckpointError(_no_single_trunk(state, found, prefix))
    (start, marker), *_ = found.items()
    inside = {name.removeprefix(start): name for name in state if name.startswith(start)}
    trunk_names = [name for name in inside if not _HEADS.match(name)]
    rename = _from_transformers(trunk_names) if marker == _TRANSFORMERS else _from_others
    trunk: State = {}
    for name in trunk_names:
        if rename(name) in trunk:
            raise CheckpointError(f"{start}{name} and another name both stand for {rename(name)}")
        trunk[rename(name)] = state[inside[name]]
    used = {inside[name] for name in trunk_names}
    beside = {name: value for name, value in state.items() if name not in used}
    require_dense(trunk)
    if not trunk[PATCHES].ndim:
        raise CheckpointError(
            f"{start}{marker} is a single number; expected a convolution's weight"
        )
    return Content(_layout(start, marker, trunk_names, beside), start, trunk, beside)


def _our_name(name: str) -> str:
    for theirs, ours in _BESIDE:
        name = re.sub(f"^{theirs}", ours, name)
    return name


def _no_single_trunk(state: State, prefixes: Iterable[str], prefix: str | None) -> str:
    if starts := sorted(prefixes):
        return f"several trunks in it, under {', '.join(map(repr, starts))}; expected a prefix"
    names = some(list(state))
    where = f" under the prefix {prefix!r}" if prefix else ""
    return (
        f"no Hiera trunk in it{where}: no name ends with {PATCHES} (Hiera, timm, SAM 2) or with "
        f"{_TRANSFORMERS} (transformers); it has {names}"
    )


def _from_others(name: str) -> str:
    if name == "pos_embed_win":  # timm
        return "pos_embed_window"
    if name == "pos_embed_abs":  # older files of timm
        return "pos_embed"
    for theirs, ours in _PARTS.items():
        name = name.replace(theirs, ours)
    return name


def _from_transformers(names: Iterable[str]) -> Callable[[str], str]:
    layers: dict[int, int] = {}  # of each stage, also those of which all names are missing
    for match in filter(None, map(_LAYER.match, names)):
        layers[int(match[1])] = max(layers.get(int(match[1]), 0), int(match[2]) + 1)
    first = {stage: sum(n for other, n in layers.items() if other < stage) for stage in layers}

    def rename(name: str) -> str:
        if not (match := _LAYER.match(name)):
            return _EMBEDDING_NAMES.get(name, name)
        part, _, rest = match[3].partition(".")
        block = first[int(match[1])] + int(match[2])
        return f"blocks.{block}.{_LAYER_NAMES.get(part, part)}.{rest}"

    return rename


def _layout(prefix: str, marker: str, names: Iterable[str], beside: Iterable[str]) -> str:
    names, heads = set(names), {name.split(".")[0] for name in beside}
    if marker == _TRANSFORMERS:
        kinds = {"decoder": " MAE", "classifier": " classifier"}
        return "transformers Hiera" + next((k for h, k in kinds.items() if h in heads), "")
    if marker == _TRANSFORMERS_SAM2:
        return "transformers SAM 2"
    if prefix.endswith("network."):
        return f"hiera_dense {'MAE' if prefix + 'decoder_pos_embed' in beside else 'classifier'}"
    if "trunk." in prefix and not prefix.startswith("image_encoder."):
        whole = bool(heads - {"backbone"} - {f"norm{i}" for i in range(4)})
        return "hiera_dense detector or segmenter" if whole else "hiera_dense backbone"
    if any(".mlp.layers." in name for name in names):
        return "SAM 2"
    if "pos_embed_win" in names:
        return "timm Hiera, absolute win"
    if any(name.startswith(("head.fc", "head.norm")) for name in beside):
        return "timm HieraDet" if "pos_embed_window" in names else "timm Hiera"
    form = "clips" if "pos_embed_spatial" in names else "images"
    if "decoder_pos_embed" in heads:
        return f"FAIR MAE, {form}"
    return f"FAIR classifier, {form}" if "head" in heads else "Hiera trunk"


def _require(layout: str, trunk: State, lacks: str, pooled_shortcuts: bool = False) -> None:
    """Refuse parameters that a layout has no names for, and a trunk that its model cannot be.

    No other layout has tables of relative position.
    """
    if names := [name for name in trunk if re.match(f"{lacks}|{RELATIVE}", name)]:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise CheckpointError(f"{layout} layout has no {', '.join(names[:3])}{more}")
    if not pooled_shortcuts and not arch_of(trunk)["expand_proj"]:
        raise CheckpointError(f"{layout} blocks have linear shortcuts, and this trunk has none")


def _to_fair(trunk: State) -> State:
    _require("Hiera's", trunk, r"pos_embed_(window|global)|blocks\.\d+\.ls\d")
    return trunk


def _to_timm(trunk: State) -> State:
    _require("timm's", trunk, "pos_embed_global", pooled_shortcuts=True)
    if any(name.startswith("sam2") for name in fitting_archs(trunk)):
        raise CheckpointError("timm's Hiera has no such windows; expected layout timm_hieradet")
    return {"pos_embed_win" if n == "pos_embed_window" else n: t for n, t in trunk.items()}


def _to_hieradet(trunk: State) -> State:
    _require("HieraDet's", trunk, r"pos_embed_(global|spatial|temporal)")
    if "pos_embed_window" not in trunk:
        raise CheckpointError("HieraDet's layout has pos_embed_window, and this trunk has not")
    return trunk


def _to_sam2(trunk: State) -> State:
    _require("SAM 2's", trunk, r"blocks\.\d+\.ls\d")
    renamed = {
        n.replace(".mlp.fc1.", ".mlp.layers.0.").replace(".mlp.fc2.", ".mlp.layers.1."): tensor
        for n, tensor in _to_hieradet(trunk).items()
    }
    return {f"image_encoder.trunk.{name}": tensor for name, tensor in renamed.items()}


def _to_transformers(trunk: State) -> State:
    _require("transformers'", trunk, r"pos_embed_|blocks\.\d+\.ls\d")
    places = [(s, i) for s, depth in enumerate(stages_of(trunk)) for i in range(depth)]
    embeddings = {ours: theirs for theirs, ours in _EMBEDDING_NAMES.items()}
    parts = {ours: theirs for theirs, ours in _LAYER_NAMES.items()}

    def rename(name: str) -> str:
        if name in embeddings:
            return embeddings[name]
        _, block, part, rest = name.split(".", 3)
        stage, layer = places[int(block)]
        return f"encoder.stages.{stage}.layers.{layer}.{parts.get(part, part)}.{rest}"

    return {rename(name): tensor for name, tensor in trunk.items()}


LAYOUTS: Mapping[str, Callable[[State], State]] = {
    "hiera_dense": dict,
    "fair": _to_fair,
    "timm": _to_timm,
    "timm_hieradet": _to_hieradet,
    "sam2": _to_sam2,
    "transformers": _to_transformers,
}
"""From the tensors of a trunk, under our names, to those of another layout."""

WRAPPERS: Mapping[str, str] = {"fair": "model_state", "sam2": "model"}
"""The key that a layout has its tensors in, in files of `torch.save`."""
