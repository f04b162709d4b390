"""Write a page about a training: curves, metrics, mistakes, the best and the worst images."""

from pathlib import Path

from hiera_dense.cli.parser import ends_with_a_message, make_parser


@ends_with_a_message
def main() -> None:
    parser = make_parser(__doc__, "work_dirs/demo/instances")
    parser.add_argument("run", type=Path, help="the folder of a run of `hiera-dense train`")
    parser.add_argument(
        "--checkpoint", type=Path, help="of the run (default: the best one, else the last)"
    )
    parser.add_argument("--data", metavar="FOLDER", help="its data, if they were moved")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the page (default: RUN/report)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU, if there is one)")
    args = parser.parse_args()
    from hiera_dense.report.run_report import write_report  # slow to import, and not for --help

    page = write_report(args.run, args.checkpoint, args.data, args.out, args.device)
    print(f"report: {page}")
