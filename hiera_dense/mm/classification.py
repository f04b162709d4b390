"""Classification in mmengine's Runner: `type='hiera_dense.HieraClassifier'`."""

from collections.abc import Mapping
from typing import Any

from hiera_dense.registry import MODELS  # isort: split

import torch.nn.functional as F
from mmengine.model import BaseModel
from timm.data import Mixup
from torch import Tensor

from hiera_dense.errors import SetupError
from hiera_dense.mm.init_cfg import last_and_ours
from hiera_dense.model.checks import require_share
from hiera_dense.model.classifier import Classifier


@MODELS.register_module()
class HieraClassifier(BaseModel):
    """A classifier that mmengine trains.

    Args:
        arch: A name in `variants.ARCHS`, or the fields of an `arch.Arch`.
        num_classes: Classes. None: those of the published weights, 1000, or 400 of clips.
        label_smoothing: Share of the target that is spread over all classes.
        mixup: Settings of `timm.data.Mixup` but for classes and smoothing, as
            `dict(mixup_alpha=0.8, cutmix_alpha=1.0)`; needs an even batch. None: no mixing.
        data_preprocessor: mmengine's config of what normalises a batch.
        init_cfg: mmengine's initialisation config. `type='Pretrained'` means
            `hiera_dense.Pretrained`; a classifier of as many classes is filled too.
        **network: As for `hiera_dense.Classifier`.

    Attributes:
        measures: Names of what is measured of an image.

    Raises:
        SetupError: An unknown name or field, or a value out of range.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any],
        num_classes: int | None = None,
        label_smoothing: float = 0.0,
        mixup: Mapping[str, Any] | None = None,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
        **network: Any,
    ) -> None:
        super().__init__(data_preprocessor, last_and_ours(init_cfg))
        self.network = Classifier(arch, num_classes, **network)
        classes = self.network.head.projection.out_features
        require_share("label_smoothing", label_smoothing)
        self.label_smoothing = label_smoothing
        self.measures = ("top1", "top5") if classes > 5 else ("top1",)
        self.mixup = None
        if mixup is not None:
            settings = dict(label_smoothing=label_smoothing, num_classes=classes)
            if both := sorted(set(mixup) & set(settings)):
                raise SetupError(f"mixup has {', '.join(both)}; expected that beside it")
            settings |= mixup
            self.mixup = Mixup(**settings)  # type: ignore[no-untyped-call]

    def forward(
        self, inputs: Tensor, data_samples: Tensor | None = None, mode: str = "tensor"
    ) -> Any:
        """Classify.

        Args:
            inputs: Images, shape (B, C_in, H, W), or clips, shape (B, C_in, T, H, W), normalised.
            data_samples: The true classes, shape (B,).
            mode: mmengine's: `loss`, `predict` or `tensor`.

        Returns:
            `tensor`: scores, shape (B, classes). `loss`: dict(loss=...), the cross-entropy.
            `predict`: for each image a dict with its `scores`, and, where classes are given, its
            `measures`, 100 or 0: `top1` and, of more than five classes, `top5`.
        """
        if mode == "loss":
            return dict(loss=self._loss(inputs, data_samples))
        scores = self.network(inputs)
        if mode == "tensor":
            return scores
        if data_samples is None:
            return [dict(scores=row) for row in scores]
        order = scores.argsort(1, descending=True)
        places = (order == data_samples[:, None]).int().argmax(1).tolist()  # of the true classes
        limits = {name: int(name.removeprefix("top")) for name in self.measures}
        return [
            dict(scores=row, measures={name: 100.0 * (place < k) for name, k in limits.items()})
            for row, place in zip(scores, places, strict=True)
        ]

    def _loss(self, inputs: Tensor, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise ValueError("no data_samples; expected the classes of the images, shape (B,)")
        if self.mixup is None:
            scores = self.network(inputs)
            return F.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)
        if len(inputs) % 2:
            raise ValueError(f"mixup of a batch of {len(inputs)}; expected an even number")
        mixed, target = self.mixup(inputs, labels)
        return F.cross_entropy(self.network(mixed), target)
