"""Write a page about a labelled folder of your own data: classes, sizes, truth, augmentation."""

from pathlib import Path

from hiera_dense.cli.parser import ends_with_a_message, make_parser


@ends_with_a_message
def main() -> None:
    parser = make_parser(__doc__, "data/my-cells --out look")
    parser.add_argument("folder", help="COCO format, or images and index masks")
    parser.add_argument(
        "--config",
        metavar="RECIPE",
        help="the recipe whose augmentation is shown (default: one that fits the data)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("look"), help="folder of the page (default: look)"
    )
    args = parser.parse_args()
    from hiera_dense.report.look import write_look  # slow to import, and not for --help

    print(f"page: {write_look(args.folder, args.config, args.out)}")
