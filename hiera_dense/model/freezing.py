"""Which parts of a trunk are trained."""

from torch import nn

from hiera_dense.model.hiera import Hiera


def freeze(trunk: Hiera, stages: int, last: int) -> None:
    """Freeze the first parts of a trunk, and what follows the last stage that is used.

    Args:
        trunk: Its parts are changed: frozen ones get no gradient, and eval mode if they are used.
        stages: -1: none; 0: patch and position embedding; n: these and the first n stages.
        last: The last stage that is used, counted from 0.
    """
    for block in trunk.blocks[trunk.stage_ends[last] + 1 :]:
        block.requires_grad_(False)
    if stages < 0:
        return
    for table in trunk.parameters(recurse=False):
        table.requires_grad_(False)
    blocks = sum(trunk.arch.stages[:stages])
    frozen: tuple[nn.Module, ...] = (trunk.patch_embed, *trunk.blocks[:blocks])
    for module in frozen:
        module.eval().requires_grad_(False)
