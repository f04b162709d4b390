"""Images as classifiers take them, beside torchvision's transforms."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from hiera_dense.errors import DataError
from hiera_dense.predict.cropping import cropped

SIZES = [(320, 320), (97, 240), (241, 130), (20, 33), (160, 161), (500, 31)]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("shorter", "crop"), [(160, (160, 160)), (64, (50, 61)), (40, (48, 70))])
def test_images_are_cropped_as_torchvision_does(
    mode: str, shorter: int, crop: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    interpolation = v2.InterpolationMode(mode)
    theirs = v2.Compose(
        [v2.Resize(shorter, interpolation=interpolation, antialias=True), v2.CenterCrop(crop)]
    )
    for size in SIZES:
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        expected = np.asarray(theirs(Image.fromarray(image)))
        np.testing.assert_array_equal(cropped(image, shorter, mode, crop), expected)


def test_an_image_of_a_pixel_by_thousands_is_named() -> None:
    image = np.zeros((1, 4000, 3), np.uint8)
    with pytest.raises(DataError, match=r"1 x 4000 px cannot be prepared .*usual sides"):
        cropped(image, 160, "bicubic", (160, 160))
