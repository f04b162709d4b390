"""Classifiers: from images to probabilities of classes, and how two runs of one compare."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from hiera_dense.deploy.comparing import OBJECTS, Comparison
from hiera_dense.deploy.graph import Prepare
from hiera_dense.predict.results import Result

_SCORE = 1e-3
_TIE = 1e-4  # classes whose probabilities are so near may change places


class ClassGraph(nn.Module):
    """From cropped images to probabilities.

    Args:
        prepare: Normalises and pads.
        twin: Of the model.
    """

    def __init__(self, prepare: Prepare, twin: nn.Module) -> None:
        super().__init__()
        self.prepare = prepare
        self.twin = twin

    def forward(self, image: Tensor) -> Tensor:
        """From images (B, C, h, w) to probabilities (B, classes)."""
        scores: Tensor = self.twin(self.prepare(image))
        return scores


class Probabilities(nn.Module):
    """The network of a classifier, with probabilities for scores.

    Args:
        model: `HieraClassifier`, trained.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.network = model.network

    def forward(self, image: Tensor) -> Tensor:
        """From normalised images (B, C, h, w) to probabilities (B, classes)."""
        scores: Tensor = self.network(image)
        return scores if self.network.head.softmax_in_eval else scores.softmax(-1)


def twin(model: Any, cfg: Mapping[str, Any]) -> nn.Module:
    """The twin of a `HieraClassifier`; all of them can be exported."""
    return Probabilities(model).eval()


class ClassComparison:
    """Sums over images: they match if the best class is one, and its probability.

    Args:
        whose: What the results are compared with, as a genitive.
        score: By which probabilities may differ.
    """

    least = OBJECTS

    def __init__(self, whose: str = "PyTorch's", score: float = _SCORE) -> None:
        self.whose = whose
        self._score = score
        self.all = self.same = 0
        self.score = 0.0

    @property
    def share(self) -> float:
        """Of images with the same class."""
        return self.same / self.all if self.all else 1.0

    @property
    def is_equal(self) -> bool:
        """Whether the file may be kept."""
        return self.share >= self.least

    def __str__(self) -> str:
        """In words."""
        return (
            f"{self.same} of {self.all} images have {self.whose} class, probabilities differ by "
            f"{self.score:.0e} at most"
        )

    def add(self, ours: Result, theirs: Result) -> None:
        """Compare what was found in one image."""
        assert ours.class_scores is not None
        assert theirs.class_scores is not None
        apart = float(np.abs(ours.class_scores - theirs.class_scores).max())
        best = theirs.class_scores[ours.class_scores.argmax()]
        is_same = best > theirs.class_scores.max() - _TIE
        self.all += 1
        self.same += bool(is_same and apart < self._score)
        self.score = max(self.score, apart)


def comparison(
    task: str, whose: str = "PyTorch's", iou: float = 0.99, score: float = _SCORE
) -> Comparison | ClassComparison:
    """Sums of a task.

    Args:
        task: Of the model.
        whose: What the results are compared with, as a genitive.
        iou: Of boxes and masks that match, at least.
        score: By which scores may differ.
    """
    if task == "classification":
        return ClassComparison(whose, score)
    return Comparison(task, whose, iou, score)
