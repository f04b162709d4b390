"""Look at every file and annotation of a folder of your own data, as `train` does first."""

import sys

from hiera_dense.cli.parser import make_parser
from hiera_dense.data.annotations import DataError
from hiera_dense.data.check import check, tell
from hiera_dense.data.folders import any_folder


def main() -> None:
    parser = make_parser(__doc__, "data/my-cells")
    parser.add_argument(
        "folder", help="COCO format, images and index masks, or a folder for each class"
    )
    try:
        folder = any_folder(parser.parse_args().folder)
    except DataError as error:
        sys.exit(str(error))
    tell(folder, check(folder))
