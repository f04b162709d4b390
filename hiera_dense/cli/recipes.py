"""List the recipes: configs that `train` and `evaluate` take by their names."""

import sys

from hiera_dense import recipes
from hiera_dense.cli.parser import ends_with_a_message, make_parser


@ends_with_a_message
def main() -> None:
    parser = make_parser(__doc__, "'mask2former*ade20k*'")
    parser.add_argument(
        "pattern", nargs="?", default="*", help="shell pattern for recipe names; default: all"
    )
    parser.add_argument(
        "--folder", action="store_true", help="print the folder that holds configs/ and tools/"
    )
    args = parser.parse_args()
    if args.folder:
        print(recipes.folder())
        return
    found = recipes.matching(args.pattern)
    if not found:
        sys.exit(f"no config matches {args.pattern!r} in {recipes.folder() / 'configs'}")
    print("\n".join(path.stem for path in found))
