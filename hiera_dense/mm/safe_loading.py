"""Checkpoints are read without running code from them, also where mmengine reads them."""

from collections.abc import Callable, Iterator
from typing import Any

from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import get_external_models, get_torchvision_models

from hiera_dense.errors import CheckpointError
from hiera_dense.weights import download, files, pickles

_ZOOS: dict[str, Callable[[], dict[str, str]]] = {
    "torchvision://": get_torchvision_models,
    "modelzoo://": get_torchvision_models,
    "open-mmlab://": get_external_models,
    "openmmlab://": get_external_models,
}


def load_from_file(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint of a run; in place of mmengine's loaders.

    Args:
        filename: A file, a URL, or a name of mmengine's lists (`torchvision://resnet50`).
        map_location: Not needed: model and optimizer take what is theirs to their own device.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is no checkpoint of a run, or names classes that are not admitted.
    """
    place = download.understand(_address(filename))
    if place.hub or place.name:
        raise CheckpointError(
            f"{filename}: not a file; expected a checkpoint of a whole model (published weights go "
            "into backbone.init_cfg)"
        )
    content, _ = files.read(download.locate(place))
    try:
        return _revived(content)
    except CheckpointError as error:
        raise CheckpointError(f"{filename}: {error}") from None
    except Exception as error:  # what stands there may be anything
        raise CheckpointError(
            f"{filename}: its history or schedules are not as mmengine writes them ({error!r})"
        ) from None


def refuse_code() -> None:
    """Put the guard in place, for `load_from`, `--resume`, and the checkpoint that is evaluated.

    mmengine's own loaders read a file again, unsafely, when it is refused, or never read safely.
    """
    schemes = ("", *CheckpointLoader._schemes)
    CheckpointLoader.register_scheme(schemes, load_from_file, force=True)


def _address(filename: str) -> str:
    """The URL of what mmengine has a name for."""
    scheme, mark, name = filename.partition("://")
    if not mark or scheme in ("http", "https"):
        return filename
    if (zoo := _ZOOS.get(scheme + mark)) is None:
        raise CheckpointError(
            f"{filename}: {scheme}:// is read by running code of the file; expected a file, or a "
            f"URL of https:// or {', '.join(_ZOOS)}"
        )
    if not (url := zoo().get(name)):
        raise CheckpointError(f"{filename}: unknown; expected one of {', '.join(zoo())}")
    return url


def _revived(content: dict[str, Any]) -> dict[str, Any]:
    """With mmengine's own objects where its runs expect them: history and one kind of schedule."""
    if isinstance(meta := content.get("meta"), dict):
        meta.pop("config", None)  # mmengine would run it, as a program, and only warn
    hub = content.get("message_hub")
    scalars = hub.get("log_scalars", {}) if isinstance(hub, dict) else {}
    for name, value in scalars.items():
        if isinstance(value, pickles.Inert):
            had = vars(value)
            history = (had["_log_history"], had["_count_history"], had["max_length"])
            scalars[name] = HistoryBuffer(*history)
    for schedule in _schedules(content.get("param_schedulers", [])):
        for name, value in schedule.items():
            if isinstance(value, pickles.Attribute):
                if value.name not in ("_annealing_cos", "_annealing_linear"):
                    raise CheckpointError(f"a schedule with {'.'.join(value)}; expected annealing")
                schedule[name] = getattr(OneCycleParamScheduler, value.name)
    return content


def _schedules(states: Any) -> Iterator[dict[str, Any]]:
    """The states of schedules: a list of them, or one for each of several optimizers."""
    for state in states.values() if isinstance(states, dict) else states:
        if isinstance(state, dict):
            yield state
        else:
            yield from state
