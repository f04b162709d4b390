"""Time predictions: ours beside the inferencers of mmdet and mmseg, on one checkpoint and images.

In turn, each contestant in its own process: results alone, and with a picture written for each
image. Then what our time goes to, step by step.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hiera_dense.data.images import find_images
from tools.bench.measure import Job, Worker, alternate

OURS, THEIRS = "hiera_dense", "inferencer"
ALONE, PICTURES = "results alone", "with pictures"


def jobs(name: str, checkpoint: str, images: list[Path]) -> dict[str, Job]:
    """What a process does for a contestant."""
    return (ours if name == OURS else theirs)(checkpoint, images)


def ours(checkpoint: str, images: list[Path]) -> dict[str, Job]:
    """The predictor, and `hiera-dense predict`'s outputs."""
    from hiera_dense import Predictor
    from hiera_dense.predict.outputs import Outputs

    predictor = Predictor(checkpoint)

    def alone() -> int:
        return sum(1 for _ in predictor.stream(images))

    def pictures() -> None:
        with tempfile.TemporaryDirectory() as folder:
            output = Outputs(Path(folder), "none", True, predictor.classes, predictor.task)
            with output:
                for path, result in zip(images, predictor.stream(images), strict=True):
                    output.image(result, path.name)

    return {ALONE: alone, PICTURES: pictures, "shares": lambda: shares(predictor, images)}


def theirs(checkpoint: str, images: list[Path]) -> dict[str, Job]:
    """The inferencer of the host, with the config inside the checkpoint."""
    from mmengine.config import Config

    content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    cfg = Config.fromstring(content["meta"]["cfg"], ".py")
    names = [str(path) for path in images]
    infer: Any
    if cfg.default_scope == "mmdet":
        from mmdet.apis import DetInferencer

        infer = DetInferencer(cfg, checkpoint, device="cpu", show_progress=False)
        plain = dict(no_save_vis=True, return_datasamples=True)
    else:
        from mmseg.apis import MMSegInferencer

        infer = MMSegInferencer(cfg, checkpoint, device="cpu")
        infer.show_progress = False
        plain = dict(return_datasamples=True)

    def pictures() -> None:
        with tempfile.TemporaryDirectory() as folder:
            infer(names, out_dir=folder, return_datasamples=True)

    return {ALONE: lambda: infer(names, **plain), PICTURES: pictures}


def shares(predictor: Any, images: list[Path]) -> dict[str, float]:
    """Seconds for an image, by step, one after the other."""
    from hiera_dense.predict.drawing import write

    seconds = dict.fromkeys(("decoding", "network", "drawing", "writing"), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        for path in images:
            steps: list[float] = [time.perf_counter()]
            pixels = predictor.pixels(path)
            steps.append(time.perf_counter())
            result = predictor(pixels)
            steps.append(time.perf_counter())
            picture = result.draw()
            steps.append(time.perf_counter())
            write(picture, Path(folder) / f"{path.stem}.png")
            steps.append(time.perf_counter())
            for name, begin, end in zip(seconds, steps, steps[1:], strict=False):
                seconds[name] += (end - begin) / len(images)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="of a run of mmdet or mmseg, one that you trust")
    parser.add_argument("images", type=Path, help="a folder")
    parser.add_argument("--most", type=int, default=20, help="images")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    images = find_images(args.images)[: args.most]
    workers = {
        name: Worker(jobs, name, args.checkpoint, images, threads=args.threads)
        for name in (OURS, THEIRS)
    }
    print(f"{len(images)} images, {args.threads} threads, torch {torch.__version__}\n")
    print("| | images per s | MB above the model | with pictures, images per s |")
    print("|---|---|---|---|")
    rates = {
        job: {
            name: len(images) / min(times)
            for name, times in alternate(
                {name: partial(worker.seconds, job) for name, worker in workers.items()},
                args.runs,
            ).items()
        }
        for job in (ALONE, PICTURES)
    }
    for name, worker in workers.items():
        memory = worker.memory(ALONE)
        print(f"| {name} | {rates[ALONE][name]:.2f} | {memory:.0f} | {rates[PICTURES][name]:.2f} |")
    steps = [workers[OURS].result("shares") for _ in range(args.runs)]
    median = {name: statistics.median(step[name] for step in steps) for name in steps[0]}
    whole = sum(median.values())
    told = (f"{name} {1e3 * s:.1f} ms ({100 * s / whole:.0f} %)" for name, s in median.items())
    print(f"\nhiera_dense, an image: {', '.join(told)}")
    for worker in workers.values():
        worker.stop()


if __name__ == "__main__":
    main()
