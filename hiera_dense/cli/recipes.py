"""List the recipes, which are configs of detectors, segmenters, classifiers and MAEs."""

import sys

from hiera_dense.cli.parser import make_parser
from hiera_dense.mm import recipes


def main() -> None:
    parser = make_parser(__doc__, "'mask2former*ade20k*'")
    parser.add_argument(
        "pattern", nargs="?", default="*", help="of their names, as in a shell; default: all"
    )
    parser.add_argument(
        "--folder", action="store_true", help="print the folder that holds configs/ and tools/"
    )
    args = parser.parse_args()
    if args.folder:
        print(recipes.folder())
        return
    suffix = "" if args.pattern.endswith(".py") else ".py"
    found = recipes.matching(args.pattern + suffix)
    if not found:
        sys.exit(f"no config matches {args.pattern!r} in {recipes.folder() / 'configs'}")
    print("\n".join(map(str, found)))
