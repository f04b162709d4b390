"""Images for classifiers, resized and cropped as torchvision does it with images of Pillow's."""

import numpy as np
from PIL import Image

from hiera_dense.errors import DataError
from hiera_dense.predict.found import Array

_MODES = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_LONGEST = 50_000  # px


def cropped(image: Array, shorter: int, mode: str, crop: tuple[int, int]) -> Array:
    """The middle of an image whose shorter side gets a length.

    Args:
        image: RGB, uint8, (H, W, 3).
        shorter: px.
        mode: `bilinear` or `bicubic`; both without aliasing.
        crop: Height and width of the result; black where the image has no pixels.

    Raises:
        DataError: It has sides that no classifier was trained on, such as 1 px by thousands.
    """
    height, width = image.shape[:2]
    longer = int(shorter * max(height, width) / min(height, width))
    if longer > _LONGEST:
        raise DataError(
            f"an image of {height} x {width} px cannot be prepared for the model; expected one of "
            "usual sides"
        )
    size = (shorter, longer) if width <= height else (longer, shorter)
    resized = np.asarray(Image.fromarray(image).resize(size, _MODES[mode]))
    missing = [
        max(wanted - there, 0) for wanted, there in zip(crop, resized.shape[:2], strict=True)
    ]
    margins = [(lack // 2, (lack + 1) // 2) for lack in missing]
    resized = np.pad(resized, (*margins, (0, 0)))
    top, left = (
        round((there - wanted) / 2) for there, wanted in zip(resized.shape[:2], crop, strict=True)
    )
    return resized[top : top + crop[0], left : left + crop[1]]
