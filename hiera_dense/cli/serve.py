"""Serve a trained model: a page to drop images and videos on, and an endpoint for programs."""

from importlib.util import find_spec
from pathlib import Path

from hiera_dense.cli.parser import ends_with_a_message, make_parser
from hiera_dense.errors import SetupError
from hiera_dense.predict.predictor import SCORE, Predictor
from hiera_dense.serve.uploads import Limits


@ends_with_a_message
def main() -> None:
    parser = make_parser(__doc__, "work_dirs/RUN --port 7860")
    parser.add_argument(
        "model", help="folder of a run, checkpoint, exported file, or a recipe with --weights"
    )
    parser.add_argument("--weights", metavar="FILE", help="checkpoint, for a recipe")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1, this machine only; 0.0.0.0: every network, "
        "so that everybody there can use the page)",
    )
    parser.add_argument(
        "--port", type=int, default=7860, help="port (default: 7860; 0: any free one)"
    )
    parser.add_argument(
        "--score",
        type=float,
        default=SCORE,
        help="lowest score of objects (default: %(default)s)",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument(
        "--examples", type=Path, metavar="FOLDER", help="images that the page offers"
    )
    limits = Limits()
    parser.add_argument(
        "--max-mb",
        type=float,
        default=limits.megabytes,
        help=f"largest file, MB (default: {limits.megabytes:g})",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=limits.megapixels,
        help=f"largest image, million pixels (default: {limits.megapixels:g})",
    )
    parser.add_argument(
        "--max-frames",
        type=int,
        default=limits.frames,
        help=f"longest video, frames (default: {limits.frames})",
    )
    parser.add_argument(
        "--max-requests",
        type=int,
        default=64,
        help="requests at a time; more of them get status 503 (default: 64)",
    )
    args = parser.parse_args()
    if missing := [name for name in ("gradio", "cv2") if find_spec(name) is None]:
        raise SetupError(
            f'{" and ".join(missing)} missing; expected after: pip install "hiera-dense[app]"'
        )
    sizes = (args.max_mb, args.max_megapixels, args.max_frames, args.max_requests)
    if not all(size > 0 for size in sizes):
        raise SetupError(f"limits {sizes}; expected numbers above 0")
    if not 0 <= args.score <= 1:
        raise SetupError(f"--score {args.score}; expected a number from 0 to 1")
    if not 0 <= args.port <= 65535:
        raise SetupError(f"--port {args.port}; expected a number from 0 to 65535")
    if args.examples and not args.examples.is_dir():
        raise SetupError(f"--examples {args.examples}: no such folder; expected one of images")
    from hiera_dense.serve import server

    listening = server.bind(args.host, args.port)  # before the model takes its time
    predictor = Predictor(args.model, args.weights, score=args.score, device=args.device)
    if predictor.task == "classification":
        raise SetupError(
            f"{args.model}: a classifier; expected a detector or a segmenter, whose objects and "
            "pixels the page shows; `hiera-dense predict` takes it"
        )
    app = server.make_app(
        predictor,
        score=args.score,
        limits=Limits(args.max_mb, args.max_megapixels, args.max_frames),
        requests=args.max_requests,
        examples=args.examples,
    )
    print(f"{predictor.name}: {server.address_of(listening)} (stop with Ctrl+C)", flush=True)
    server.serve(app, listening)
