"""Videos for tests."""

from pathlib import Path

import cv2
import numpy as np


def write_video(path: Path, frames: int, size: tuple[int, int] = (48, 64)) -> None:
    """A video that gets brighter, red, 10 frames per second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, size[::-1])
    for number in range(frames):
        frame = np.zeros((*size, 3), np.uint8)
        frame[..., 2] = 40 + number
        writer.write(frame)
    writer.release()
