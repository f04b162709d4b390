"""Convert Hiera weights of any layout to ours, or ours to another; --info tells what a file is.

Only the trunk is converted: classifiers, decoders, necks and heads are not.
"""

import sys
from pathlib import Path

from hiera_dense.cli.parser import ends_with_a_message, make_parser
from hiera_dense.errors import CheckpointError
from hiera_dense.weights import download, files
from hiera_dense.weights.describe import check, describe
from hiera_dense.weights.layouts import LAYOUTS, WRAPPERS, recognise
from hiera_dense.weights.load import not_used
from hiera_dense.weights.state_dicts import choose

_SUFFIXES = (".safetensors", ".pth", ".pt")


@ends_with_a_message
def main() -> None:
    parser = make_parser(__doc__, "hiera_base_224.mae_in1k base.safetensors")
    parser.add_argument("source", help="a file, a URL, a hub id, or a name of published weights")
    parser.add_argument("destination", nargs="?", type=Path, help="FILE.safetensors or FILE.pth")
    parser.add_argument(
        "--info", action="store_true", help="tell what the source is, write nothing"
    )
    parser.add_argument("--to", choices=LAYOUTS, default="hiera_dense", help="layout to write")
    parser.add_argument("--prefix", help="look only at names that start so")
    parser.add_argument("--key", help="where the weights stand in the file, e.g. state_dict_ema")
    parser.add_argument("--licence", help="of the weights, for the metadata of safetensors")
    args = parser.parse_args()
    if args.info == bool(args.destination):
        parser.error("expected either a destination or --info")
    destination = args.destination
    if destination and (destination.suffix not in _SUFFIXES or destination.exists()):
        problem = "exists" if destination.exists() else f"expected {', '.join(_SUFFIXES)}"
        parser.error(f"{destination}: {problem}")
    place = download.understand(args.source)
    checkpoint, metadata = files.read(download.locate(place))
    try:
        chosen = choose(checkpoint, args.key)
        content = recognise(chosen.state, args.prefix)
        arch = "" if args.info else check(content)
    except CheckpointError as error:
        raise CheckpointError(f"{args.source}: {error}") from None
    if args.info:
        print(describe(args.source, content, metadata, chosen))
        return
    known = place.weight.licence if place.weight else metadata.get("licence")
    if args.licence and known not in (None, args.licence):
        sys.exit(f"--licence {args.licence}: {args.source} has the licence {known}")
    tensors = LAYOUTS[args.to](content.trunk)
    notes = dict(source=args.source, licence=args.licence or known, arch=arch, layout=args.to)
    files.write(destination, tensors, {k: v for k, v in notes.items() if v}, WRAPPERS.get(args.to))
    print(f"{destination}: {len(tensors)} tensors; not used: {not_used(content, chosen.others)}")
