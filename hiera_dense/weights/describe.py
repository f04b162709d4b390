"""What weights of strangers are, and whether a trunk of ours could take them."""

import torch

from hiera_dense.errors import CheckpointError, shown
from hiera_dense.model.hiera import Hiera
from hiera_dense.weights.layouts import Content
from hiera_dense.weights.load import fit, not_used
from hiera_dense.weights.shapes import PATCHES, arch_of, fitting_archs, stages_of, tables_of
from hiera_dense.weights.state_dicts import Chosen
from hiera_dense.weights.stored import require_finite


def describe(said: str, content: Content, metadata: dict[str, str], chosen: Chosen) -> str:
    """What a file is, a line for each fact."""
    trunk = content.trunk
    patches = trunk[PATCHES]
    values = sum(tensor.numel() for tensor in trunk.values())
    try:
        require_finite(trunk)
        finite = "all values finite"
    except CheckpointError as error:
        finite = str(error)
    facts = {
        "layout": content.layout + (f", under {content.prefix!r}" if content.prefix else ""),
        "arch": " or ".join(fitting_archs(trunk)) or "none of the known ones",
        "width, blocks": f"{len(patches)}, {list(stages_of(trunk))}",
        "patches": f"{patches.shape[1]} channels, {' x '.join(map(str, patches.shape[2:]))}",
        "positions": ", ".join(f"{n} {shape}" for n, shape in tables_of(trunk).items()),
        "trunk": f"{values / 1e6:.1f} M values in {len(trunk)} tensors, {patches.dtype}; {finite}",
        "not used": not_used(content, chosen.others),
        **{f"says {key}": value for key, value in metadata.items()},
    }
    return "\n".join(
        [said, *(f"  {shown(key):<14} {shown(value, 500)}" for key, value in facts.items())]
    )


def check(content: Content) -> str:
    """Compare with an arch of these shapes, and name those of them that are known.

    Raises:
        CheckpointError: Names are missing or unexpected, or values are not finite.
    """
    channels = content.trunk[PATCHES].shape[1]
    with torch.device("meta"):
        trunk = Hiera(arch_of(content.trunk), in_channels=channels)
    fit(content.trunk, trunk)
    return " or ".join(fitting_archs(content.trunk))
