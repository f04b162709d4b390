"""Time a trained model beside its exported files, in turn, each in its own process.

python -m tools.bench.time_exported CHECKPOINT FILE.onnx ... --images FOLDER
"""

import argparse
from functools import partial
from pathlib import Path

import torch

from hiera_dense.data.images import find_images
from tools.bench.measure import Job, Worker, alternate

PREDICT = "predict"


def jobs(model: str, images: list[Path]) -> dict[str, Job]:
    """What a process does for a contestant."""
    from hiera_dense import Predictor

    predictor = Predictor(model)
    return {PREDICT: lambda: sum(1 for _ in predictor.stream(images))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="a checkpoint, or a file of `hiera-dense export`")
    parser.add_argument("--images", type=Path, required=True, help="a folder")
    parser.add_argument("--most", type=int, default=20, help="images")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    args = parser.parse_args()
    images = find_images(args.images)[: args.most]
    workers = {model: Worker(jobs, model, images, threads=args.threads) for model in args.models}
    asked = {model: partial(worker.seconds, PREDICT) for model, worker in workers.items()}
    times = alternate(asked, args.runs)
    print(f"{len(images)} images, torch {torch.__version__}, best of {args.runs} runs\n")
    print("| | file, MB | images per s | MB above the model |\n|---|---|---|---|")
    for model, worker in workers.items():
        size = Path(model).stat().st_size / 1e6 if Path(model).is_file() else 0.0
        rate = f"{len(images) / min(times[model]):.2f}" if model in times else "failed"
        print(f"| {Path(model).name} | {size:.0f} | {rate} | {worker.memory(PREDICT):.0f} |")
        worker.stop()


if __name__ == "__main__":
    main()
