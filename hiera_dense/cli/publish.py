"""Publish a trained model: weights, config and a card in a folder, for the Hugging Face hub.

    hiera-dense publish RUN --out FOLDER
    hiera-dense publish RUN --out FOLDER --push USER/NAME

`Predictor`, `predict`, `serve` and `export` take the folder, or USER/NAME, as they take a run.
"""

from pathlib import Path

from hiera_dense.cli.parser import ends_with_a_message, make_parser


@ends_with_a_message
def main() -> None:
    parser = make_parser(__doc__, "work_dirs/RUN --out my-model")
    parser.add_argument("run", type=Path, help="a run's folder, or a checkpoint")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="to write")
    parser.add_argument("--push", metavar="USER/NAME", help="push it to the hub, too")
    parser.add_argument("--private", action="store_true", help="make it private there")
    parser.add_argument(
        "--licence",
        help="of the model, by the hub's name, as apache-2.0 (default: that of the weights that "
        "the training began from)",
    )
    parser.add_argument(
        "--dataset", default="own data", help="name of the data, for the card (default: own data)"
    )
    args = parser.parse_args()
    if args.private and not args.push:
        parser.error("--private without --push; expected both")
    from hiera_dense.report.publish import publish, push  # slow to import, and not for --help

    licence = publish(
        args.run, args.out, name=args.push, licence=args.licence, dataset=args.dataset
    )
    print(f"{args.out}: licence {licence or 'not known; expected --licence ID for others'}")
    if args.push:
        print(push(args.out, args.push, args.private))
