"""Whether a model, its training data and its validation data have the same classes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from hiera_dense.errors import SetupError, some

_HEADS = re.compile(r"(.*\.)?(bbox|mask|panoptic|panoptic_fusion|decode|auxiliary)_head(\.\d+)?")
# Edges and depths, whatever the classes of the data; regions with any object in them likewise.
_OTHER_TARGETS = ("STDCHead", "VPDDepthHead")


def check_classes(model: nn.Module, datasets: Mapping[str, Any]) -> None:
    """Compare the classes of data sets with each other and with those of a model.

    Args:
        model: A detector, segmenter or classifier.
        datasets: The data sets by what they are for.

    Raises:
        SetupError: where they differ.
    """
    own = dict(_num_classes(model))
    labelled = [(name, meta) for name, dataset in datasets.items() for meta in _labels(dataset)]
    if not own or not labelled:
        return
    for name, meta in labelled:
        classes = meta["classes"]
        if isinstance(classes, str):
            raise SetupError(f"metainfo.classes {classes!r}; expected a tuple, ({classes!r},)")
        # Boxes and masks of a panoptic model are of things only.
        counts = len(classes), len(meta.get("thing_classes") or classes)
        for place, number in own.items():
            if number not in counts:
                raise SetupError(
                    f"{place}.num_classes {number}, the {name} data have {len(classes)} classes "
                    f"({some(classes)}); expected as many".removeprefix(".")
                )
    (first, reference), *others = labelled
    for name, meta in others:
        ours, theirs = list(reference["classes"]), list(meta["classes"])
        if ours != theirs:
            differ = sorted(set(ours) ^ set(theirs))
            what = f"the classes {some(differ)}" if differ else "the order of their classes"
            raise SetupError(f"{first} and {name} data differ in {what}; expected the same")


def _labels(dataset: Any) -> list[Mapping[str, Any]]:
    """What a data set tells of its classes; what each tells, where it joins several."""
    metainfo = getattr(dataset, "metainfo", None) or {}
    parts = metainfo if isinstance(metainfo, list) else [metainfo]
    return [part for part in parts if part.get("classes")]


def _num_classes(model: Any) -> Iterator[tuple[str, int]]:
    """The classes that the heads of a model are made for, by their place."""
    if hasattr(model, "language_model") or hasattr(model, "text_encoder"):  # find what words name
        return
    head = getattr(getattr(model, "network", None), "head", None)
    if head is not None:
        yield "", head.projection.out_features
    for name, module in model.named_modules():
        number = getattr(module, "num_classes", None)
        kind = type(module).__name__
        if not isinstance(number, int) or not _HEADS.fullmatch(name):
            continue
        if kind in _OTHER_TARGETS or "RPN" in kind or getattr(module, "class_agnostic", False):
            continue
        yield name, number
