"""Reading a config, and overriding settings of it."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from traceback import walk_tb
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.runner import FlexibleRunner, Runner

from hiera_dense.errors import InputError, SetupError
from hiera_dense.mm.building import message_of
from hiera_dense.recipes import recipe

# What mmengine and we read from a config besides what the runners are made with.
_READ_LATER = {
    *("runner_type", "model_wrapper_cfg", "find_unused_parameters", "sync_bn", "compile"),
    *("activation_checkpointing", "efficient_conv_bn_eval", "custom_imports", "own_data"),
    *("tta_model", "tta_pipeline"),
}
_READERS = ("_file2dict", "_is_lazy_import", "_parse_lazy_import")


class Settings(DictAction):
    """mmengine's way to read settings from a command line, with a message for what is none."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        """Read them.

        Raises:
            SetupError: One is no KEY=VALUE.
        """
        settings: dict[str, Any] = {}
        for value in values:
            try:
                super().__call__(parser, namespace, [value], option)
            except (AssertionError, ValueError) as error:
                raise SetupError(
                    f"--cfg-options {value}; expected KEY=VALUE, with all of its brackets"
                ) from error
            settings |= getattr(namespace, self.dest)
        setattr(namespace, self.dest, settings)


def is_config(name: str) -> bool:
    """Whether a name is that of a config file, or of a recipe."""
    try:
        return config_path(name).endswith(".py")
    except SetupError:
        return False


def config_path(name: str) -> str:
    """The config file of a path, or of the name of a recipe.

    Raises:
        SetupError: There is none.
    """
    if Path(name).is_file():
        return name
    if Path(name).is_dir():
        raise SetupError(f"{name} is a folder; expected a config file, or the name of a recipe")
    try:
        return recipe(name.removeprefix("configs/"))
    except FileNotFoundError as error:
        raise SetupError(f"{name}: no such file, and {error}") from None


def read_config(path: str) -> Config:
    """mmengine's config of a file.

    Raises:
        InputError: Code in it raised it.
        SetupError: It, or a file that it inherits from, cannot be read or executed.
    """
    try:
        return Config.fromfile(path)
    except InputError:
        raise
    except Exception as error:  # a config is code, which may raise anything
        files = [path, *_files(error)]
        if isinstance(error, FileNotFoundError) and len(files) > 1 and files[-1] in str(error):
            raise SetupError(
                f"{files[-2]}: no file {files[-1]}; expected _base_ to name configs that exist"
            ) from error
        kind = type(error).__name__
        raise SetupError(
            f"{_place(error, files[-1])}: {kind}: {message_of(error)}; expected a config that runs"
        ) from error


def override(cfg: Config, settings: Mapping[str, Any]) -> None:
    """Override settings of a config, as `--cfg-options` does.

    mmengine adds a key that is not there, and nobody ever reads it. Nor does anybody read a
    variable of a config again, such as `image_size`, once other settings were made from it.

    Args:
        cfg: The config, which is changed.
        settings: Values by their place in it, `model.backbone.arch`.

    Raises:
        SetupError: A key has no place in the config, or is one that nobody reads.
    """
    for key, value in settings.items():
        _check_place(cfg, key)
        try:
            cfg.merge_from_dict({key: value})
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise SetupError(
                f"--cfg-options {key}: {message_of(error)}; expected a place that the config has"
            ) from error


def _check_place(cfg: Config, key: str) -> None:
    top, *inner = key.split(".")
    read = {name for kind in (Runner, FlexibleRunner) for name in signature(kind).parameters}
    known = sorted(read - {"cfg"} | _READ_LATER)
    if top not in known:
        if top in cfg:
            raise SetupError(
                f"--cfg-options {key}: {top!r} is a variable, from which settings were made when "
                "the config was read; expected one of these settings, or a config of your own"
            )
        parts = {name: part for name, part in cfg.items() if isinstance(part, Mapping)}
        near = get_close_matches(top, known, 1)
        near += [f"{name}.{top}" for name, part in parts.items() if top in part]
        expected = near[0] if near else "a key of the config, or of mmengine's runner"
        raise SetupError(f"--cfg-options {key}: no {top!r} in the config; expected {expected}")
    parent: Any = cfg.get(top)
    for name, parent_name in zip(inner, (top, *inner), strict=False):
        if not isinstance(parent, Mapping) or parent_name == "custom_keys":
            return
        # What has a type is asked when it is built: it knows better what it takes.
        near = [] if "type" in parent else get_close_matches(name, parent, 1, 0.85)
        if name not in parent and near:
            raise SetupError(
                f"--cfg-options {key}: no {name!r} in {parent_name}; expected {near[0]}"
            )
        parent = parent.get(name)


def _files(error: Exception) -> list[str]:
    """The files that mmengine was reading, each inherited by the one before it."""
    found = [
        str(frame.f_locals["filename"])
        for frame, _ in walk_tb(error.__traceback__)
        if frame.f_code.co_name in _READERS and "filename" in frame.f_locals
    ]
    return list(dict.fromkeys(found))


def _place(error: Exception, file: str) -> str:
    """Where a config failed: its file, and the line, if code in it did."""
    lines = list(_lines(error, file))
    return f"{file}, line {lines[-1]}" if lines else file


def _lines(error: Exception, file: str) -> Iterator[int]:
    if isinstance(error, SyntaxError) and error.lineno:
        yield error.lineno
    for frame, line in walk_tb(error.__traceback__):
        if frame.f_code.co_filename == file:
            yield line
