"""The config of a run, from its folder, as far as its validation needs it.

It is read as plain values: nothing of it is run. Transforms are those that the registries have.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from hiera_dense.data.folders import Folder, coco_folder, mask_folder
from hiera_dense.errors import DataError, SetupError, shown, some
from hiera_dense.mm.admitted import HOSTS, admitted
from hiera_dense.mm.record import settings_of

_READ = ("default_scope", "test_dataloader", "test_evaluator", "test_cfg", "own_data", "train_cfg")


class Validation(NamedTuple):
    """What is needed to evaluate.

    Attributes:
        scope: The host, `mmdet` or `mmseg`.
        loader: Settings of the data loader.
        evaluators: Settings of the metrics.
        half: Whether the evaluation is in float16.
        place: The folder of the data, or the annotation file, to be named in messages.
    """

    scope: str
    loader: dict[str, Any]
    evaluators: list[dict[str, Any]]
    half: bool
    place: str


def read_settings(run: Path) -> dict[str, Any]:
    """Settings of the last start of a run.

    Raises:
        SetupError: There is no config in the folder, or it has more than plain values.
    """
    records = [*sorted(run.glob("*.py")), *sorted(run.glob("*/vis_data/config.py"))]
    if not records:
        raise SetupError(
            f"{run}: no config in it; expected the folder of a run of `hiera-dense train`"
        )
    try:
        return settings_of(records[-1].read_text("utf-8"), _READ)
    except (ValueError, OSError) as error:
        raise SetupError(
            f"{records[-1]}: {error}; expected plain values, as a run writes"
        ) from None


def validation_of(run: Path, settings: dict[str, Any], data: str | None) -> Validation:
    """The validation of a run, on its own data or on those that were moved.

    It is what `hiera-dense evaluate` runs: the test loader, which is that of the validation in all
    recipes of this package.

    Args:
        run: The folder.
        settings: From `read_settings`.
        data: The folder of the data, where they lie now; None: where they lay.

    Raises:
        SetupError: It was not trained on a folder, or has no data set or metric that is known.
        DataError: The data are not there, or have other classes.
    """
    scope, loader = settings.get("default_scope"), settings.get("test_dataloader")
    if scope not in HOSTS or not isinstance(loader, dict) or "dataset" not in loader:
        raise SetupError(f"{run}: no detector or segmenter with validation data; expected one")
    evaluators = settings.get("test_evaluator") or []
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    dataset = loader["dataset"]
    place = str(dataset.get("data_root") or dataset.get("ann_file") or run)
    own = settings.get("own_data")
    if own:
        folder = _own_folder(run, own, data)
        place = folder["root"]
        _move(dataset, evaluators, folder)
    elif data:
        raise SetupError(f"--data {data}: {run} was not trained on a folder (--data of train)")
    if "pipeline" not in dataset:
        raise SetupError(f"{run}: a data set of data sets; expected one with a pipeline")
    dataset["pipeline"] = admitted(dataset["pipeline"], scope)
    _refuse_unknown({"evaluators": evaluators, **loader}, scope, run)
    half = bool((settings.get("test_cfg") or {}).get("fp16"))
    return Validation(scope, loader, evaluators, half, place)


def _own_folder(run: Path, own: dict[str, Any], data: str | None) -> Folder:
    """The folder of the run's data, looked at again: what was rewritten may be gone."""
    root = data or own["root"]
    if not Path(root).expanduser().is_dir():
        moved = "no such folder" if data else "the data of the run are not there any more"
        raise DataError(f"{run}: {root}: {moved}; expected --data FOLDER")
    folder = coco_folder(root) if own["kind"] == "coco" else mask_folder(root)
    if tuple(folder["classes"]) != tuple(own["classes"]):
        raise DataError(
            f"{root} has the classes {some(folder['classes'])}; {run} was trained on "
            f"{some(own['classes'])}; expected the same in the same order"
        )
    return folder


def _move(dataset: dict[str, Any], evaluators: list[dict[str, Any]], folder: Folder) -> None:
    """Let settings read the validation split of a folder."""
    val = folder["val"]
    dataset["data_root"] = folder["root"]
    if folder["kind"] == "masks":
        dataset["data_prefix"] = dict(img_path=val["images"], seg_map_path=val["annotations"])
        return
    dataset |= dict(ann_file=val["annotations"], data_prefix=dict(img=val["images"]))
    for evaluator in evaluators:
        if "ann_file" in evaluator:
            evaluator["ann_file"] = str(Path(folder["root"]) / val["annotations"])


def _refuse_unknown(settings: Any, scope: str, run: Path) -> None:
    """Refuse types that no registry has: mmengine would import a module of that name."""
    known: set[str] = set()
    for package in ("mmengine", scope, "hiera_dense"):
        module = import_module(f"{package}.registry")
        for name in ("DATASETS", "METRICS", "DATA_SAMPLERS", "FUNCTIONS", "TRANSFORMS"):
            if (registry := getattr(module, name, None)) is not None:
                registry.import_from_location()
                known |= set(registry.module_dict)
    for name in _types(settings):
        if name.removeprefix("hiera_dense.").removeprefix(f"{scope}.") not in known:
            raise SetupError(
                f"{run}: type {shown(name)!r} in its config; expected one that mmengine, {scope} "
                "or hiera_dense registers"
            )


def _types(settings: Any) -> list[str]:
    if isinstance(settings, dict):
        own = [str(settings["type"])] if "type" in settings else []
        return own + [name for value in settings.values() for name in _types(value)]
    if isinstance(settings, list | tuple):
        return [name for value in settings for name in _types(value)]
    return []
