"""Look at every file and annotation of a labelled folder of your own, as `train` does first."""

from hiera_dense.cli.parser import ends_with_a_message, make_parser
from hiera_dense.data.check import check, tell
from hiera_dense.data.folders import any_folder


@ends_with_a_message
def main() -> None:
    parser = make_parser(__doc__, "data/my-cells")
    parser.add_argument(
        "folder", help="COCO format, images and index masks, or a folder for each class"
    )
    parser.add_argument(
        "--decode",
        choices=["all", "some", "none"],
        default="some",
        help="decode all images; some, an even part, where all would take more than two minutes "
        "(default); or none",
    )
    args = parser.parse_args()
    folder = any_folder(args.folder)
    tell(folder, check(folder, args.decode))
