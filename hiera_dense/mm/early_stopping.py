"""Ends a training whose validation metric improves no more; also one that was resumed."""

import math
from typing import Any

from hiera_dense.registry import HOOKS  # isort: split

from mmengine.hooks import EarlyStoppingHook

from hiera_dense.errors import SetupError

_KEY = "early_stopping"


@HOOKS.register_module()
class EarlyStopping(EarlyStoppingHook):
    """mmengine's early stopping, which checkpoints remember, and which gives a run time to begin.

    A detector of random weights finds nothing in its first validations, which would count as no
    improvement. mmengine's own hook begins again on resuming.

    Args:
        begin: Share of the epochs, 0 to 1, before which a validation without improvement does not
            count.
        **kwargs: mmengine's: `monitor`, `patience` (validations), `min_delta`, ...

    Raises:
        SetupError: A number is out of range.
    """

    def __init__(self, begin: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= begin < 1:
            raise SetupError(f"EarlyStopping.begin {begin}; expected a share, 0 or more, under 1")
        if type(self.patience) is not int or self.patience < 1:
            raise SetupError(
                f"EarlyStopping.patience {self.patience!r}; expected an int, 1 or more"
            )
        self.begin = begin

    def before_train(self, runner: Any) -> None:
        """Go on from what a checkpoint remembers."""
        known = runner.message_hub.runtime_info.get(_KEY)
        if isinstance(known, dict):
            waited, best = known.get("wait_count"), known.get("best_score")
            if type(waited) is int and waited >= 0 and type(best) is float and not math.isnan(best):
                self.wait_count, self.best_score = waited, best

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Count the validation, and end the training where too many were without improvement."""
        super().after_val_epoch(runner, metrics or {})
        if runner.epoch < self.begin * runner.max_epochs:
            self.wait_count = 0
            runner.train_loop.stop_training = False
        runner.message_hub.update_info(
            _KEY, dict(wait_count=self.wait_count, best_score=float(self.best_score))
        )
