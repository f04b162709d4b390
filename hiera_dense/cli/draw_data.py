"""Draw a small data set."""

from pathlib import Path

from hiera_dense.cli.parser import ends_with_a_message, make_parser
from hiera_dense.data import toy


@ends_with_a_message
def main() -> None:
    parser = make_parser(toy.__doc__, "data/toy --train 50")
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--train", type=int, default=200, help="training images (default: 200)")
    parser.add_argument("--val", type=int, default=24, help="validation images (default: 24)")
    parser.add_argument("--size", type=int, default=320, help="side in pixels (default: 320)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    toy.write_split(args.folder, "train", args.train, args.size, 2 * args.seed)
    toy.write_split(args.folder, "val", args.val, args.size, 2 * args.seed + 1)
    print(f"drew {args.train} training and {args.val} validation images in {args.folder}")
