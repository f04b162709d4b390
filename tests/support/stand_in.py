"""A predictor without a network, and a server with it: python -m support.stand_in TASK REQUESTS."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiera_dense.predict.found import Array, Crop
from hiera_dense.predict.palette import colours
from hiera_dense.predict.results import Result

CLASSES = ("disc", "box", "<b>star</b>")
MEGABYTES = 2.0


class StandIn:
    """Finds three objects in each image, or three stripes; fails at images 13 px wide."""

    name = "somewhere/run/best.pth"
    classes = CLASSES
    palette = colours(len(CLASSES))

    def __init__(self, task: str = "instances", seconds: float = 0.0) -> None:
        self.task, self.seconds, self.calls = task, seconds, 0

    def __call__(
        self, image: Array, *, score: float = 0.3, classes: Sequence[str] | None = None
    ) -> Result:
        self.calls += 1
        time.sleep(self.seconds)
        if image.shape[1] == 13:
            raise RuntimeError(f"out of memory at {Path(__file__)}")
        height, width = image.shape[:2]
        if self.task == "segmentation":
            rows = np.arange(height)[:, None] * 3 // height
            labels = np.broadcast_to(rows, (height, width)).astype(np.uint8)
            return Result((height, width), self.classes, self.palette, segmentation=labels)
        boxes = np.array([[i * width / 4, 0, (i + 1) * width / 4, height / 2] for i in range(3)])
        crops = [
            Crop(0, int(box[0]), np.ones((height // 2, max(1, width // 4)), bool)) for box in boxes
        ]
        scores = np.array([0.9, 0.6, 0.2], np.float32)
        found = Result(
            (height, width),
            self.classes,
            self.palette,
            boxes.astype(np.float32),
            scores,
            np.arange(3),
            tuple(crops),
        )
        return found.keep(score, classes)


def app(task: str = "instances", seconds: float = 0.0, **settings: Any) -> Any:
    """The server's application with a stand-in."""
    from hiera_dense.serve.server import make_app
    from hiera_dense.serve.uploads import Limits

    return make_app(StandIn(task, seconds), limits=Limits(MEGABYTES, 4.0, 20), **settings)


if __name__ == "__main__":
    from hiera_dense.serve.server import address_of, bind, serve

    made = app(sys.argv[1], float(sys.argv[2]), requests=int(sys.argv[3]))
    listening = bind("127.0.0.1", 0)
    print(address_of(listening), flush=True)
    serve(made, listening)
