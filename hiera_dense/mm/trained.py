"""A trained detector, segmenter or classifier as it lies on the disk: config, weights, classes.

Nothing of it is run. The config in a checkpoint is read as plain values; a config that the user
names is a program of theirs.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hiera_dense.errors import CheckpointError, SetupError, shown, some
from hiera_dense.mm.admitted import HOSTS, admitted
from hiera_dense.mm.began import began_from
from hiera_dense.mm.class_steps import ClassSteps, class_steps
from hiera_dense.mm.config_file import config_path, is_config, read_config
from hiera_dense.mm.published import published
from hiera_dense.mm.record import settings_of
from hiera_dense.mm.resume import last_whole_checkpoint
from hiera_dense.mm.safe_loading import load_from_file
from hiera_dense.weights.catalog import WEIGHTS

CLASSIFIER = "mmengine"  # the scope of classifiers
_CLASSIFIERS = ("hiera_dense.HieraClassifier", "HieraClassifier")
_STARTS = ("load_from", "resume")
_READ = ("model", "test_dataloader", "val_dataloader", "tta_model", "tta_pipeline")


class Trained(NamedTuple):
    """What is needed to predict.

    Attributes:
        name: The checkpoint.
        scope: The host, `mmdet` or `mmseg`, or `mmengine` of a classifier.
        model: The config of the model.
        pipeline: The transforms of test images. Those of a host begin with what reads them.
        tta: The config of test-time augmentation and its transforms, if there is one.
        state: The state dict.
        classes: Their names.
        palette: What the training data tell of its colours; anything, or None.
        steps: Of a classifier what is done to test images in place of a pipeline.
        began_from: The checkpoint that its training started from, as the config names it; None:
            random weights.
        is_strange: Whether the config may be a stranger's: that in a checkpoint.
    """

    name: str
    scope: str
    model: dict[str, Any]
    pipeline: list[Any]
    tta: tuple[dict[str, Any], list[Any]] | None
    state: dict[str, Any]
    classes: tuple[str, ...]
    palette: Any
    steps: ClassSteps | None = None
    began_from: str | None = None
    is_strange: bool = True


def read_trained(source: str | Path, weights: str | Path | None = None) -> Trained:
    """Read a trained model.

    Args:
        source: A run's folder, a checkpoint with its config inside it, a published model (its
            folder, or `USER/NAME` on the Hugging Face hub), or with `weights` a config file or the
            name of a recipe.
        weights: A checkpoint, also without a config.

    Raises:
        FileNotFoundError: It is not there.
        CheckpointError: A checkpoint is damaged, or has no config.
        SetupError: It is something else, or its config cannot be used.
    """
    source = str(source)
    if source in WEIGHTS or (weights is not None and str(weights) in WEIGHTS):
        raise SetupError(
            f"{weights or source}: published weights of a backbone; expected a trained detector, "
            "segmenter or classifier"
        )
    if weights is not None:
        content = load_from_file(str(weights))
        settings = read_config(config_path(source)).to_dict()
        return _trained(str(weights), settings, content)._replace(is_strange=False)
    if is_config(source):
        raise SetupError(f"{source}: a config without weights; expected --weights FILE with it")
    if found := published(source):
        content = load_from_file(str(found.weights))
        return _trained(source, _settings_in(source, found.config.read_text("utf-8")), content)
    path = Path(os.path.expanduser(source))
    if path.is_dir():
        path = _checkpoint_in(path)
        source = str(path)
    content = load_from_file(source)
    return _trained(source, _config_in(source, content), content)


def _checkpoint_in(run: Path) -> Path:
    """The best checkpoint of a run, else the last one."""
    best = sorted(run.glob("best_*.pth"))
    if len(best) > 1:
        raise SetupError(f"{run}: {some(p.name for p in best)}; expected one of them by its path")
    found = best[0] if best else last_whole_checkpoint(run, tell=True)
    if found is None:
        raise SetupError(
            f"{run}: a folder without checkpoints; expected that of a run, with best_*.pth, "
            "iter_*.pth or epoch_*.pth"
        )
    return found


def _config_in(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The config that mmengine keeps in a checkpoint."""
    meta = content.get("meta")
    text = meta.get("cfg") if isinstance(meta, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(
            f"{name}: no config inside; expected a checkpoint of mmengine's, or the config with "
            "it: CONFIG --weights FILE"
        )
    return _settings_in(name, text)


def _settings_in(name: str, text: str) -> dict[str, Any]:
    """The settings that are read of a config that may be a stranger's, as plain values."""
    problem = f"{name}: the config inside it cannot be used"
    try:
        settings = settings_of(text, {"default_scope", *_STARTS, *_READ})
    except ValueError as error:
        raise CheckpointError(f"{problem} ({error}); expected plain values") from None
    scope = str(settings.get("default_scope"))
    if not _is_ours(settings):
        raise CheckpointError(_other_task(name, scope))
    kept = {key: settings[key] for key in _READ if key in settings}
    # Read before `admitted` leaves out what a training starts from.
    start: dict[str, Any] = {"load_from": began_from(settings)}
    try:
        if scope == CLASSIFIER:  # transforms of torchvision; `class_steps` reads them
            found = dict(transforms=_dataset_of(kept, name, "transforms")["transforms"])
            start["test_dataloader"] = dict(dataset=found)
            kept = dict(model=kept["model"])
        for part in kept.values():
            _without_data(part)
        return dict(admitted(kept, scope), default_scope=scope, **start)
    except SetupError as error:
        raise CheckpointError(f"{problem}: {error}") from None


def _without_data(loader: Any) -> None:
    """Leave of a data loader its data set's transforms and classes, which alone are read."""
    if isinstance(loader, dict) and "dataset" in loader:
        dataset = _innermost(loader["dataset"], "pipeline")
        kept = {key: dataset[key] for key in ("pipeline", "metainfo") if key in dataset}
        loader.clear()
        loader["dataset"] = kept


def _trained(name: str, cfg: Mapping[str, Any], content: Mapping[str, Any]) -> Trained:
    scope = str(cfg.get("default_scope"))
    if not _is_ours(cfg):
        raise SetupError(_other_task(name, scope))
    if not isinstance(model := cfg.get("model"), dict) or "type" not in model:
        raise SetupError(f"{name}: no model in its config; expected dict(type=..., ...)")
    pipeline: list[Any] = []
    steps = None
    if scope == CLASSIFIER:
        dataset = _dataset_of(cfg, name, "transforms")
        steps = class_steps(name, dataset["transforms"])
    else:
        dataset = _dataset_of(cfg, name, "pipeline")
        pipeline += dataset["pipeline"]
    meta = content.get("meta")
    told = meta.get("dataset_meta") if isinstance(meta, dict) else None
    classes, palette = _classes(name, told if isinstance(told, dict) else {}, dataset)
    tta = None
    if isinstance(cfg.get("tta_model"), dict) and _are_steps(cfg.get("tta_pipeline")):
        tta = cfg["tta_model"], cfg["tta_pipeline"]
    return Trained(
        name,
        scope,
        model,
        pipeline,
        tta,
        content.get("state_dict", content),
        classes,
        palette,
        steps,
        began_from(cfg),
    )


def _is_ours(cfg: Mapping[str, Any]) -> bool:
    scope, model = cfg.get("default_scope"), cfg.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    return scope in HOSTS or (scope == CLASSIFIER and kind in _CLASSIFIERS)


def _other_task(name: str, scope: Any) -> str:
    kind = "a masked autoencoder" if scope == CLASSIFIER else f"scope {shown(str(scope))!r}"
    return (
        f"{name}: {kind}; expected a detector of MMDetection, a segmenter of MMSegmentation or a "
        "classifier of hiera_dense"
    )


def _dataset_of(cfg: Mapping[str, Any], name: str, key: str) -> Mapping[str, Any]:
    """The data set that is tested on, without wrappers around it."""
    for loader in ("test_dataloader", "val_dataloader"):
        settings = cfg.get(loader)
        dataset = settings.get("dataset") if isinstance(settings, dict) else None
        dataset = _innermost(dataset, key)
        if _are_steps(dataset.get(key)):
            return dataset
    raise SetupError(f"{name}: no test_dataloader with a {key}; expected a config with one")


def _innermost(dataset: Any, key: str) -> dict[str, Any]:
    while isinstance(dataset, dict) and key not in dataset:
        several = dataset.get("datasets")
        first = several[0] if isinstance(several, list | tuple) and several else None
        dataset = dataset.get("dataset", first)
    return dataset if isinstance(dataset, dict) else {}


def _are_steps(pipeline: Any) -> bool:
    """Whether something is the transforms of a pipeline."""
    is_list = isinstance(pipeline, list | tuple) and bool(pipeline)
    return is_list and all(isinstance(step, dict) and "type" in step for step in pipeline)


def _classes(
    name: str, told: Mapping[str, Any], dataset: Mapping[str, Any]
) -> tuple[tuple[str, ...], Any]:
    """Names and colours: of the checkpoint, else of the config, else of the data set's class."""
    places = (told, dataset.get("metainfo") or {}, _metainfo(dataset))
    told_places = (place for place in places if isinstance(place, Mapping) and place.get("classes"))
    meta = next(told_places, {})
    classes = meta.get("classes", ())
    is_list = isinstance(classes, list | tuple) and bool(classes)
    if not is_list or not all(isinstance(c, str) for c in classes):
        raise SetupError(f"{name}: no names of classes; expected them in meta.dataset_meta")
    return tuple(shown(c) for c in classes), meta.get("palette")


def _metainfo(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the class of a data set tells, of a config that the user named."""
    from mmengine.registry import DATASETS

    found = DATASETS.get(dataset["type"]) if "type" in dataset else None
    meta: Mapping[str, Any] = getattr(found, "METAINFO", {})
    return meta
