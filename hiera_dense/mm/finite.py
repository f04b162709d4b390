"""A training stops where its losses or weights are no numbers any more."""

import math
from collections.abc import Mapping
from typing import Any

from hiera_dense.registry import HOOKS  # isort: split

from mmengine.hooks import Hook

from hiera_dense.errors import TrainingError, some
from hiera_dense.mm.launch import model_of
from hiera_dense.mm.resume import checkpoint_folder_of, last_whole_checkpoint
from hiera_dense.mm.whole_models import lost_in

_SKIPS = 30  # a loss scale of 2^16 is halved to far below 1


@HOOKS.register_module()
class StopAtNaN(Hook):
    """Stops a training with losses that are not finite, and saves no weights that are not.

    A scaler of mixed precision skips steps with infinite gradients and halves its scale, which is
    part of its work. Such steps are let pass as long as the weights are finite, up to 30 in a row.
    """

    priority = "ABOVE_NORMAL"  # after the losses are recorded, before anything is saved

    def __init__(self) -> None:
        self._skipped = 0

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Look at the losses of a step.

        Raises:
            TrainingError: Some are NaN or infinite; names the iteration and the losses.
        """
        # mmengine has already brought the values from the device to its hub.
        scalars = runner.message_hub.log_scalars
        names = [name for name in outputs or {} if "loss" in name and f"train/{name}" in scalars]
        values = {name: float(scalars[f"train/{name}"].current()) for name in names}
        bad = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
        if not bad:
            self._skipped = 0
            return
        scaler = getattr(runner.optim_wrapper, "loss_scaler", None)
        if (
            scaler is not None
            and scaler.is_enabled()
            and not lost_in(model_of(runner).state_dict())
        ):
            self._skipped += 1
            if self._skipped <= _SKIPS:
                return
        raise TrainingError(
            f"iteration {runner.iter + 1}: {', '.join(bad)}; expected finite losses. "
            f"{_last_of(runner)}. A lower learning rate, a longer warm-up or clipped gradients "
            "(optim_wrapper.clip_grad) may help"
        )

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Look at what is about to be saved.

        Raises:
            TrainingError: Some weights are NaN or infinite; names them.
        """
        if bad := lost_in(checkpoint["state_dict"]):
            raise TrainingError(
                f"iteration {runner.iter + 1}: NaN or infinity in {some(bad)}; expected finite "
                f"weights, and did not save these. {_last_of(runner)}"
            )


def _last_of(runner: Any) -> str:
    found = last_whole_checkpoint(checkpoint_folder_of(runner))
    return f"The last checkpoint is {found}" if found else "No checkpoint was saved yet"
