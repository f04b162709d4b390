"""Time what pretrained weights cost: building and loading a backbone, and resizing its positions.

Weights are random, in the layout of the original, from hiera-transformer. Minimum of several runs.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hiera
import torch

from hiera_dense.model.hiera import Hiera
from hiera_dense.weights.load import fill


def fastest(work: Callable[[], object], runs: int) -> float:
    """The shortest time of several runs, in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1024, help="image side in pixels")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hiera_base_224.pth"
        torch.save({"model_state": hiera.hiera_base_224().state_dict()}, file)
        trunk = Hiera("base").eval()
        build = fastest(lambda: Hiera("base"), args.runs)
        load = fastest(lambda: fill(trunk, file), args.runs)
    image = torch.randn(1, 3, args.side, args.side)
    grid = (args.side // 4, args.side // 4)
    # The windows of the COCO config.
    dense = Hiera("base", window_spec=(8, 4, 16, 8), global_att_blocks=(12, 16, 20)).eval()
    dense.load_state_dict(trunk.state_dict())
    forward = fastest(lambda: dense(image), args.runs)
    positions = fastest(lambda: dense.position_embedding(grid), args.runs)
    print(
        f"torch {torch.__version__}, {args.threads} threads, Hiera-B, minimum of {args.runs} runs"
    )
    print(f"build {build:.2f} s, load {load:.2f} s, together {build + load:.2f} s")
    print(f"forward, {args.side} px: {forward:.2f} s")
    share = 100 * positions / forward
    print(f"position embedding: {1e3 * positions:.2f} ms, {share:.2f} % of the forward")


if __name__ == "__main__":
    main()
