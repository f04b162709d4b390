"""Transforms that configs name."""

from typing import Any

from hiera_dense.registry import TRANSFORMS  # isort: split


@TRANSFORMS.register_module(name="LoadAnnotations")
def load_annotations(**kwargs: Any) -> Any:
    """mmdet's `LoadAnnotations`, with instance masks that the transforms after it treat faster.

    The masks are the same to the last pixel; see docs/performance.md.

    Args:
        **kwargs: mmdet's.
    """
    from hiera_dense.mm.mask_crops import LoadCroppedMasks  # only a config of mmdet names this

    return LoadCroppedMasks(**kwargs)
