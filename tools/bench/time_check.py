"""Time `hiera-dense check-data` and its peak memory, on drawn images of COCO's size.

Each way of decoding runs in turn, each run in its own process; the table has the minimum.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WAYS = ("all", "some", "none")
WIDTH, HEIGHT = 640, 480


def draw(folder: Path, images: int, objects: int) -> None:
    """Write two splits of noisy JPEGs with polygons of 24 corners, in COCO's format."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for split, count in {"train": images - images // 10, "val": images // 10}.items():
        (folder / split).mkdir()
        listed: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i in range(count):
            coarse = rng.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
            picture = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            picture.save(folder / split / f"{i}.jpg", quality=90)
            listed.append({"id": i, "file_name": f"{i}.jpg", "width": WIDTH, "height": HEIGHT})
            for _ in range(objects):
                radius, x, y = rng.uniform(10, 60), rng.uniform(60, 580), rng.uniform(60, 420)
                xs, ys = x + radius * np.cos(angles), y + radius * np.sin(angles)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": i,
                        "category_id": 1,
                        "bbox": [xs.min(), ys.min(), np.ptp(xs), np.ptp(ys)],
                        "segmentation": [np.stack([xs, ys], 1).ravel().tolist()],
                        "area": 12 * radius**2 * np.sin(2 * np.pi / 24),
                        "iscrowd": 0,
                    }
                )
        content = {
            "images": listed,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "disc"}],
        }
        (folder / f"instances_{split}.json").write_text(json.dumps(content))


def run(folder: Path, way: str) -> tuple[float, float]:
    """Seconds of one check, and the largest memory of one of its processes, in MB."""
    command = [sys.executable, "-m", "hiera_dense", "check-data", str(folder), "--decode", way]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=8, help="in each image")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, args.images, args.objects)
        measured: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(args.runs):
            for way in WAYS:
                measured[way].append(run(folder, way))
    print(f"{args.images} JPEGs of {WIDTH} x {HEIGHT} px, {args.objects} polygons each\n")
    print("| --decode | s | MB |\n|---|---|---|")
    for way, found in measured.items():
        print(f"| {way} | {min(s for s, _ in found):.1f} | {max(mb for _, mb in found):.0f} |")


if __name__ == "__main__":
    main()
