"""Convert Hiera weights of any layout to ours, or ours to another; --info tells what a file is.

Only the trunk is converted: classifiers, decoders, necks and heads are left behind.
"""

import sys
from pathlib import Path

import torch

from hiera_dense.cli.parser import make_parser
from hiera_dense.model.hiera import Hiera
from hiera_dense.weights import download, files
from hiera_dense.weights.files import CheckpointError
from hiera_dense.weights.layouts import LAYOUTS, WRAPPERS, Content, recognise, state_dict_of
from hiera_dense.weights.load import fit, require_finite
from hiera_dense.weights.shapes import PATCHES, arch_of, fitting_archs, stages_of, tables_of

_SUFFIXES = (".safetensors", ".pth", ".pt")


def describe(said: str, content: Content, metadata: dict[str, str]) -> str:
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
        "left over": content.left_over,
        **{f"says {key}": value for key, value in metadata.items()},
    }
    return "\n".join([said, *(f"  {key:<14} {value}" for key, value in facts.items())])


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


def main() -> None:
    parser = make_parser(__doc__, "hiera_base_224.mae_in1k base.safetensors")
    parser.add_argument("source", help="a file, a URL, a hub id, or a name of published weights")
    parser.add_argument("destination", nargs="?", type=Path, help="FILE.safetensors or FILE.pth")
    parser.add_argument(
        "--info", action="store_true", help="tell what the source is, write nothing"
    )
    parser.add_argument("--to", choices=LAYOUTS, default="hiera_dense", help="layout to write")
    parser.add_argument("--prefix", help="look only at names that start so")
    parser.add_argument("--licence", help="of the weights, for the metadata of safetensors")
    args = parser.parse_args()
    if args.info == bool(args.destination):
        parser.error("expected either a destination or --info")
    destination = args.destination
    if destination and (destination.suffix not in _SUFFIXES or destination.exists()):
        problem = "exists" if destination.exists() else f"expected {', '.join(_SUFFIXES)}"
        parser.error(f"{destination}: {problem}")
    try:
        place = download.understand(args.source)
        checkpoint, metadata = files.read(download.locate(place))
        content = recognise(state_dict_of(checkpoint), args.prefix)
        if args.info:
            print(describe(args.source, content, metadata))
            return
        known = place.weight.licence if place.weight else metadata.get("licence")
        if args.licence and known not in (None, args.licence):
            sys.exit(f"--licence {args.licence}: {args.source} has the licence {known}")
        arch = check(content)
        tensors = LAYOUTS[args.to](content.trunk)
    except (CheckpointError, FileNotFoundError) as error:
        sys.exit(str(error))
    notes = dict(source=args.source, licence=args.licence or known, arch=arch, layout=args.to)
    files.write(destination, tensors, {k: v for k, v in notes.items() if v}, WRAPPERS.get(args.to))
    print(f"{destination}: {len(tensors)} tensors; left behind: {content.left_over}")
