"""What a model found in one image, and what can be done with it: pictures, files, other formats.

The same class for all tasks and for every engine; it needs NumPy and Pillow only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from hiera_dense.predict import drawing, formats
from hiera_dense.predict.found import Array, Found


class Result(Found):
    """What `Found` describes, to draw, to save and to hand on."""

    def draw(self, image: Image.Image | Array | None = None, **options: Any) -> Image.Image:
        """A picture of what was found; `options` are those of `drawing.draw`.

        Args:
            image: What to draw on, RGB; None: the own image, or the file of `path`.

        Raises:
            DataError: There is no image, or it is of another size.
        """
        return drawing.draw(self, image, **options)

    def save(self, path: str | Path, **options: Any) -> None:
        """Write the picture of `draw`, as its suffix says, such as .png or .jpg.

        Raises:
            DataError: There is no image.
            SetupError: No picture can be written under such a suffix.
            WriteError: The disk is full, or cannot be written to; an older file stays.
        """
        drawing.write(self.draw(**options), Path(path))

    def to_dict(self) -> dict[str, Any]:
        """Values that `json.dumps` takes.

        `image` (the path), `height`, `width`, and of a detector `objects`, best first, each with
        `label`, `name`, `score`, `box` (left, top, right, bottom, px) and `mask`; of a segmenter
        `classes`, largest first, each with `label`, `name`, `share` and `mask`; of a classifier
        `classes`, the best five, each with `label`, `name` and `score`. A mask is COCO's
        run-length encoding: `size` (H, W) and compressed `counts`.
        """
        return formats.to_dict(self)

    def to_coco(
        self,
        image_id: int = 1,
        category_ids: Mapping[str, int] | None = None,
        first_id: int = 1,
    ) -> list[dict[str, Any]]:
        """Annotations of COCO, one for an object, with its score; masks are run-length encoded.

        A segmentation gives an annotation, without a score, for each class that it has.

        Args:
            image_id: Of the image.
            category_ids: By name of the class; None: 1 for the first class, and so on.
            first_id: Of the first annotation; those after it count up.

        Raises:
            SetupError: A class that was found has no category; it is a classifier's result.
        """
        return formats.to_coco(self, image_id, category_ids, first_id)

    def to_supervision(self) -> Any:
        """`supervision.Detections`, with names of the classes in `data["class_name"]`.

        A segmentation gives a mask for each class that it has, without a confidence.

        Raises:
            SetupError: supervision is not installed; it is a classifier's result.
        """
        return formats.to_supervision(self)
