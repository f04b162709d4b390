"""Import labels of an annotation tool: a folder that the recipes for own data read.

FORMAT      FOLDER holds
yolo        images and text files, with data.yaml, obj.data, classes.txt or none of them
voc         Pascal VOC: XML, masks of colours, masks of objects
labelme     a JSON file for each image
cvat        the XML file of "CVAT for images 1.1", or it is that file
label-studio  the JSON export, or it is that file
colours     images, masks in colours, and a table of the colours

What came in and what was lost is counted. Images are linked where the disk allows it, else copied.
"""

from pathlib import Path
from typing import get_args

from hiera_dense.cli.parser import ends_with_a_message, make_parser
from hiera_dense.data.check import check, tell
from hiera_dense.data.folders import any_folder
from hiera_dense.labels.importing import FORMATS, To, import_labels, recipe_for


@ends_with_a_message
def main() -> None:
    parser = make_parser(__doc__, "cvat exports/task-7 --out data/my-cells")
    parser.add_argument("format", choices=FORMATS, metavar="FORMAT", help="one of those above")
    parser.add_argument("folder", type=Path, help="the export, unpacked")
    parser.add_argument("--out", type=Path, required=True, metavar="NEW", help="folder to write")
    parser.add_argument(
        "--to",
        choices=get_args(To),
        help="boxes alone, objects with masks alone, or index masks (default: what there is)",
    )
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="images, if elsewhere")
    parser.add_argument("--colours", type=Path, metavar="FILE", help="table, if elsewhere")
    parser.add_argument(
        "--val",
        type=float,
        metavar="SHARE",
        help="of the images, held out by chance (default: the export's own splits, else 0.2)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of that chance (default: 0)")
    args = parser.parse_args()
    lines = import_labels(
        args.format,
        args.folder,
        args.out,
        to=args.to,
        images=args.images,
        colours=args.colours,
        val=args.val,
        seed=args.seed,
    )
    for line in lines:
        print(line)
    folder = any_folder(str(args.out))
    tell(folder, check(folder))
    print(f"next: hiera-dense train {recipe_for(args.out, args.to)} --data {args.out}")
