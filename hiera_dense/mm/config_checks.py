"""What can be seen in a config alone: parts that are missing, and impossible numbers."""

from collections.abc import Iterator, Mapping
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config

from hiera_dense.data.rewritten import restore
from hiera_dense.errors import SetupError
from hiera_dense.model.checks import is_int

Job = Literal["train", "test"]

_PARTS = {
    "train": ("train_dataloader", "train_cfg", "optim_wrapper"),
    "val": ("val_dataloader", "val_cfg", "val_evaluator"),
    "test": ("test_dataloader", "test_cfg", "test_evaluator"),
}
_LENGTHS = ("max_iters", "max_epochs", "val_interval")
_SIZES = ("size", "scale", "crop_size", "img_scale", "size_divisor", "pad_size_divisor")


def check_config(cfg: Config, job: Job) -> None:
    """Look at a config before anything is built from it.

    Annotations that a run had rewritten are written again, if the cache has lost them.

    Args:
        cfg: The config.
        job: What is to be done with it.

    Raises:
        SetupError: A part is missing, or a number is out of range.
        DataError: Annotations that a run had rewritten are lost.
    """
    _check_parts(cfg, job)
    if (folder := cfg.get("own_data")) is not None and folder.get("kind") == "coco":
        for split in (folder["train"], folder["val"]):
            restore(Path(folder["root"]), split)
    splits = ("train", "val") if job == "train" else ("test",)
    for split in splits:
        if (loader := cfg.get(f"{split}_dataloader")) is not None:
            _check_loader(f"{split}_dataloader", loader)
    _check_sizes("model.data_preprocessor", cfg.model.get("data_preprocessor"))
    if job == "train":
        _check_length(cfg.train_cfg)
        _check_optimizer(cfg.optim_wrapper.get("optimizer") or {})


def _check_parts(cfg: Config, job: Job) -> None:
    for key in ("model", *_PARTS[job]):
        if cfg.get(key) is None:
            raise SetupError(f"{cfg.filename}: no {key}; expected one to {_verb(job)} with")
    loaders = [f"{split}_dataloader" for split in _PARTS]
    for key in ("model", "train_cfg", "optim_wrapper", *loaders):
        if not isinstance(value := cfg.get(key, {}), Mapping | None):
            raise SetupError(f"{key} {value!r}; expected a dict")
    for names in _PARTS.values():
        if absent := [name for name in names if cfg.get(name) is None]:
            if len(absent) == len(names):
                continue
            there = " and ".join(name for name in names if name not in absent)
            raise SetupError(
                f"{cfg.filename}: {there}, but no {' and no '.join(absent)}; expected all of them, "
                "or none"
            )


def _verb(job: Job) -> str:
    return {"train": "train", "test": "evaluate"}[job]


def _check_loader(name: str, loader: Mapping[str, Any]) -> None:
    for key, least in (("batch_size", 1), ("num_workers", 0)):
        if key in loader and not is_int(loader[key], least):
            raise SetupError(f"{name}.{key} {loader[key]!r}; expected an int, {least} or more")
    for key in ("dataset", "sampler"):
        if key not in loader or (key == "dataset" and loader[key] is None):
            raise SetupError(f"{name} has no {key}; expected one")
    _check_sizes(f"{name}.dataset", loader["dataset"])


def _check_length(train_cfg: Mapping[str, Any]) -> None:
    if train_cfg.get("type") is None and "by_epoch" not in train_cfg:
        raise SetupError(
            "train_cfg has no type; expected IterBasedTrainLoop or EpochBasedTrainLoop"
        )
    for key in _LENGTHS:
        if key in train_cfg and not _is_count(value := train_cfg[key]):
            raise SetupError(f"train_cfg.{key} {value!r}; expected an int, 1 or more")
    for entry in train_cfg.get("dynamic_intervals") or ():
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not is_int(entry[1], 1):
            raise SetupError(
                f"train_cfg.dynamic_intervals {entry!r}; expected pairs of ints: from when on, and "
                "an interval, 1 or more"
            )


def _check_optimizer(optimizer: Any) -> None:
    if not isinstance(optimizer, Mapping):
        raise SetupError(f"optim_wrapper.optimizer {optimizer!r}; expected a dict")
    for key in ("lr", "weight_decay"):
        value = optimizer.get(key)
        if value is not None and not (_is_number(value) and isfinite(value) and value >= 0):
            raise SetupError(
                f"optim_wrapper.optimizer.{key} {value!r}; expected a number, 0 or more"
            )


def _check_sizes(place: str, part: Any) -> None:
    """Look at the sizes of images in a part of a config, however deep they are in it."""
    for name, value in _sizes(place, part):
        if any(n <= 0 and n != -1 for n in _numbers(value)):  # -1: as the other side says
            raise SetupError(f"{name} {value!r}; expected sizes above 0")


def _sizes(place: str, part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Mapping):
        named = "type" in part and isinstance(part["type"], str)
        for key, value in part.items():
            inner = f"{place}.{key}"
            if key in _SIZES:
                yield f"{part['type']}.{key}" if named else inner, value
            elif isinstance(value, Mapping | list | tuple):
                yield from _sizes(inner, value)
    elif isinstance(part, list | tuple):
        for i, value in enumerate(part):
            if isinstance(value, Mapping | list | tuple):
                yield from _sizes(f"{place}.{i}", value)


def _numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _numbers(entry)
    elif _is_number(value):
        yield value


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    """Whether a value is a whole number above 0; mmengine also takes 1e5 and the like."""
    return _is_number(value) and value >= 1 and isfinite(value) and value == int(value)
