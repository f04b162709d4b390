"""Settings from strangers, before something is built from them.

A config that comes with a checkpoint may hold plain values only (`record`). Even so, mmengine
imports and calls whatever a `type` names, and some parts of the hosts evaluate strings.
"""

from functools import cache
from importlib import import_module
from typing import Any

import hiera_dense.registry as ours  # first: it says what to do without mmengine

# isort: split
from mmengine.registry import MODELS, TASK_UTILS, TRANSFORMS

from hiera_dense.errors import SetupError, shown

HOSTS = ("mmdet", "mmseg")
_ROOTS = [MODELS, TASK_UTILS, TRANSFORMS]
# They start from weights elsewhere, which are filled from the checkpoint afterwards.
_STARTS = ("init_cfg", "pretrained", "checkpoint_path")


def admitted(settings: Any, scope: str) -> Any:
    """Settings of a model or pipeline of a stranger, as far as they can be built without danger.

    Args:
        settings: Nested plain values.
        scope: The host that they are for, `mmdet` or `mmseg`.

    Returns:
        A copy of them: without what a training starts from, and with the registered names of
        types, also where they were written as `package.module.Name`.

    Raises:
        SetupError: A type is not registered by the hosts or this package, or a string could be a
            program or an address.
    """
    match settings:
        case dict():
            kept = {k: admitted(v, scope) for k, v in settings.items() if k not in _STARTS}
            if "type" in kept:
                kept["type"] = _type(str(kept["type"]), scope)
            return kept
        case list() | tuple():
            return type(settings)(admitted(item, scope) for item in settings)
        case str() if "(" in settings or "://" in settings:
            raise SetupError(
                f"{shown(settings)!r} in the config of a checkpoint; expected plain words"
            )
    return settings


def _type(name: str, scope: str) -> str:
    """A type as the registries have it."""
    *path, bare = name.split(".")
    known = _registered(path[0]) if path else _registered(scope) | _registered("mmengine")
    if bare not in known and (path or bare not in _ops()):
        raise SetupError(
            f"type {shown(name)!r} in the config of a checkpoint; expected one that "
            "MMDetection, MMSegmentation or hiera_dense registers"
        )
    return f"{path[0]}.{bare}" if path else bare


@cache
def _registered(package: str) -> frozenset[str]:
    """The names of models, their parts and transforms that a package registers."""
    if package in HOSTS:
        module = import_module(f"{package}.registry")
        registries = [module.MODELS, module.TASK_UTILS, module.TRANSFORMS]
    elif package == "hiera_dense":
        registries = [ours.MODELS]
    else:
        registries = _ROOTS if package in ("mmengine", "mmcv") else []
    for registry in registries:
        registry.import_from_location()
    return frozenset(name for registry in registries for name in registry.module_dict)


@cache
def _ops() -> frozenset[str]:
    """What the hosts look up in `mmcv.ops`: kinds of NMS, layers that crop regions."""
    return frozenset(import_module("mmcv.ops").__all__)
