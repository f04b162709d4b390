"""Settings from strangers, before something is built from them.

A config that comes with a checkpoint may hold plain values only (`record`). Even so, mmengine
imports and calls whatever a type names, and some parts of the hosts evaluate strings, or read files
that strings name: pickles and configs, which are programs.
"""

import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_paths
from typing import Any

import hiera_dense.registry as ours  # first: it says what to do without mmengine

# isort: split
from mmengine.registry import MODELS, TASK_UTILS, TRANSFORMS

from hiera_dense.errors import SetupError, shown

HOSTS = ("mmdet", "mmseg")
_ROOTS = [MODELS, TASK_UTILS, TRANSFORMS]
_SCOPES = (*HOSTS, "mmengine", "hiera_dense")
# They start from weights elsewhere, which are filled from the checkpoint afterwards; or name what
# reads files: mmengine imports some such from a folder that the config tells.
_LEFT_OUT = {
    *("init_cfg", "pretrained", "checkpoint_path", "teacher_ckpt"),
    *("backend_args", "file_client_args"),
}
# What settings say: `bn-1, x: y`, `regnetx_3.2gf`, `[CLS]` and `.` of prompts; no expression that
# can call something, no dotted name, no path.
_PLAIN = re.compile(r"(?:[\w +,:-]|\.(?=\d))*|\[[A-Z]+\]|[.?!]")
_LIBRARY = tuple({Path(path).resolve() for path in get_paths().values()})


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
            program, an address or a file.
    """
    match settings:
        case dict():
            if (scope := settings.get("_scope_", scope)) not in _SCOPES:
                raise SetupError(
                    f"scope {shown(str(scope))!r} in the config of a checkpoint; expected one of "
                    f"{', '.join(_SCOPES)}"
                )
            kept = {key: value for key, value in settings.items() if key not in _LEFT_OUT}
            kind = {"type": _type(str(kept.pop("type")), scope)} if "type" in kept else {}
            return kind | {key: admitted(value, scope) for key, value in kept.items()}
        case list() | tuple():
            return type(settings)(admitted(item, scope) for item in settings)
        case bytes():
            raise SetupError("bytes in the config of a checkpoint; expected plain words")
        case str() if not _PLAIN.fullmatch(settings) or _is_code(settings):
            raise SetupError(
                f"{shown(settings)!r} in the config of a checkpoint; expected plain words"
            )
    return settings


def _is_code(name: str) -> bool:
    """Whether a file has this name, or a module of it could be imported from a stranger's folder.

    mmengine imports, as a module, a type that a registry has not, also where the name of a type
    stands in a setting of another name.
    """
    try:
        if Path(name).is_file():
            return True
        spec = find_spec(name) if name.isidentifier() and name not in _SCOPES else None
    except (OSError, ImportError, ValueError):  # too long for a file; a module without a spec
        return False
    if spec is None or not spec.has_location or spec.origin is None:  # built in, or without code
        return False
    origin = Path(spec.origin).resolve()
    return not any(origin.is_relative_to(library) for library in _LIBRARY)


def _type(name: str, scope: str) -> str:
    """A type as the registries have it."""
    *path, bare = name.split(".")
    known = _registered(path[0]) if path else _registered(scope) | _registered("mmengine")
    if (bare not in known and (path or bare not in _ops())) or _is_code(bare):
        raise SetupError(
            f"type {shown(name)!r} in the config of a checkpoint; expected one that "
            "MMDetection, MMSegmentation or hiera_dense registers"
        )
    # mmcv's are in mmengine's registries.
    return f"{'mmengine' if path[0] == 'mmcv' else path[0]}.{bare}" if path else bare


@cache
def _registered(package: str) -> frozenset[str]:
    """The names of models, their parts and transforms that a package registers."""
    if package in HOSTS:
        module = import_module(f"{package}.registry")
        registries = [module.MODELS, module.TASK_UTILS, module.TRANSFORMS]
    elif package == "hiera_dense":
        registries = [ours.MODELS, ours.TRANSFORMS]
    else:
        registries = _ROOTS if package in ("mmengine", "mmcv") else []
    if registries is _ROOTS and find_spec("mmcv"):  # it registers in those, once it is imported
        for part in ("cnn", "ops", "transforms"):
            import_module(f"mmcv.{part}")
    for registry in registries:
        registry.import_from_location()
    return frozenset(name for registry in registries for name in registry.module_dict)


@cache
def _ops() -> frozenset[str]:
    """What the hosts look up in `mmcv.ops`: kinds of NMS, layers that crop regions."""
    return frozenset(import_module("mmcv.ops").__all__)
