"""Training with torch's FSDP, by mmengine's `FlexibleRunner`: what is shared out, what is saved."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hiera_dense.registry import FUNCTIONS, STRATEGIES  # isort: split

from mmengine._strategy import FSDPStrategy as MMEngineFSDPStrategy
from mmengine.dist import is_main_process
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

from hiera_dense.errors import SetupError
from hiera_dense.mm.checkpoint_hook import WholeFiles
from hiera_dense.model.layers import HieraBlock
from hiera_dense.writing import whole_file


def each_block(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """Whether a module is a unit of FSDP: torch's policy for transformers, with `HieraBlock`.

    Necks and heads are none: FSDP gathers weights where a module itself is called, and detectors
    call methods of their heads. They belong to the unit that is the whole model.

    Args:
        module: A module of the model.
        recurse: Whether the question is to look at its children.
        nonwrapped_numel: Parameters that are in no unit yet.
    """
    return transformer_auto_wrap_policy(module, recurse, nonwrapped_numel, {HieraBlock})


FUNCTIONS.register_module(module=each_block)


@STRATEGIES.register_module()
class FSDPStrategy(MMEngineFSDPStrategy):
    """mmengine's, with checkpoints that are whole files and that it can go on from.

    State is shared out in training and gathered in the first process to be saved: one file, as of
    a training in one process, for any tool and any number of processes.

    Args:
        **kwargs: As for mmengine's.

    Raises:
        SetupError: `state_dict_cfg` asks for a file of each process.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"state_dict_cfg": "full"} | kwargs)
        if not self._is_full_state_dict():
            raise SetupError(
                f"state_dict_cfg {kwargs['state_dict_cfg']!r}; expected 'full', or none: files of "
                "each process fit no other number of processes, and are read by running code"
            )

    def save_checkpoint(self, filename: str, **kwargs: Any) -> None:
        """Save a checkpoint; it appears whole or not at all."""
        path = Path(filename)
        with whole_file(path) if is_main_process() else nullcontext(path) as part:
            super().save_checkpoint(str(part), **kwargs)
        if is_main_process():
            WholeFiles().is_written(path)

    def optim_state_dict(self) -> dict[str, Any]:
        """The state of the optimizer and of its wrapper, in the first process that of all.

        One kind at a time (first moments, second moments): where nothing is moved to the CPU, torch
        gathers each into the same memory.
        """
        own: dict[str, Any] = self.optim_wrapper.state_dict()
        states = own.pop("state")
        whole: dict[Any, dict[str, Any]] = {}
        for kind in sorted({kind for state in states.values() for kind in state}):
            one = {i: {kind: state[kind]} for i, state in states.items() if kind in state}
            gathered = self._gathered(one, own["param_groups"])
            for name, state in gathered.get("state", {}).items():
                whole.setdefault(name, {}).update(state)
        groups = self._gathered({}, own.pop("param_groups")).get("param_groups")
        return {"state": whole, "param_groups": groups} | own

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `optim_state_dict` gave; mmengine's call has the arguments of torch 2.0."""
        saved = {name: state_dict.pop(name) for name in ("state", "param_groups")}
        own = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=saved
        )
        self.optim_wrapper.load_state_dict(own | state_dict)

    def _gathered(self, states: dict[int, Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
        part = {"state": states, "param_groups": groups}
        gathered: dict[str, Any] = FullyShardedDataParallel.optim_state_dict(
            self.model, self.optim_wrapper.optimizer, part
        )
        return gathered
