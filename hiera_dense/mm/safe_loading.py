"""Checkpoints are read without running code from them, also where mmengine reads them."""

from collections.abc import Iterator
from typing import Any

from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader

from hiera_dense.errors import CheckpointError
from hiera_dense.weights import download, files


def load_from_file(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint of a run; in place of mmengine's loaders of files and URLs.

    Args:
        filename: A file or a URL.
        map_location: Not needed: model and optimizer take what is theirs to their own device.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is no checkpoint of a run, or names classes that are not admitted.
    """
    place = download.understand(filename)
    if place.hub or place.name:
        raise CheckpointError(
            f"{filename}: not a file; expected a checkpoint of a whole model (published weights go "
            "into backbone.init_cfg)"
        )
    content, _ = files.read(download.locate(place))
    return _revived(content)


def refuse_code() -> None:
    """Put the guard in place, for `load_from`, `--resume`, and the checkpoint that is evaluated.

    mmengine's own loaders read a file again, unsafely, when it is refused, or never read safely.
    """
    CheckpointLoader.register_scheme(("", "http://", "https://"), load_from_file, force=True)


def _revived(content: dict[str, Any]) -> dict[str, Any]:
    """With mmengine's own objects where its runs expect them: history and one kind of schedule."""
    scalars = content.get("message_hub", {}).get("log_scalars", {})
    for name, value in scalars.items():
        if isinstance(value, files.Inert):
            had = vars(value)
            history = (had["_log_history"], had["_count_history"], had["max_length"])
            scalars[name] = HistoryBuffer(*history)
    for schedule in _schedules(content.get("param_schedulers", [])):
        for name, value in schedule.items():
            if isinstance(value, files.Attribute):
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
