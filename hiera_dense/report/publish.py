"""Writes a trained model as a folder that others can load, and pushes it to the hub."""

import re
from pathlib import Path
from typing import Any

from hiera_dense.mm.trained import CLASSIFIER, Trained, read_trained  # first, as in evaluation.py

# isort: split
from huggingface_hub import HfApi
from mmengine.config import Config
from torch import Tensor

from hiera_dense import writing
from hiera_dense.errors import SetupError
from hiera_dense.mm.published import CONFIG
from hiera_dense.mm.record import settings_of
from hiera_dense.report.card import licence_id, make_card, metrics_of
from hiera_dense.weights import files
from hiera_dense.weights.download import WEIGHTS_FILE
from hiera_dense.weights.origin import Origin, origin_of

CARD = "README.md"
_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
MARK = ".hiera-dense-published"  # tells a folder that may be replaced; it is not pushed


def publish(
    run: Path,
    out: Path,
    *,
    name: str | None = None,
    licence: str | None = None,
    dataset: str = "own data",
) -> str | None:
    """Write the folder of a trained model: weights, config and card.

    Weights are those that a validation sees: averaged ones (EMA), if the run has them. There is
    no state of an optimizer, and no path of this machine.

    Args:
        run: The folder of a run (its best checkpoint, else the last), or a checkpoint.
        out: The folder that is written, whole or not at all.
        name: `USER/NAME` on the hub, for the card.
        licence: By the hub's name; None: that of the weights the training began from, if known.
        dataset: The name of the data.

    Returns:
        The licence that the card tells, None where it is not known.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        SetupError: There is no such model; its licence forbids another; the folder is in the way.
        WriteError: The folder cannot be written.
    """
    if name is not None and not _ID.fullmatch(name):
        raise SetupError(f"--push {name}; expected USER/NAME")
    writing.refuse_other_folder(out.resolve(), MARK)
    trained = read_trained(run)
    if trained.scope == CLASSIFIER:
        raise SetupError(
            f"{run}: a classifier; expected a detector or a segmenter (a classifier's network has "
            "push_to_hub, see docs/pytorch.md)"
        )
    origin = origin_of(trained.began_from)
    chosen = licence_id(origin, licence)
    folder_of_run = run if run.is_dir() else run.parent
    card = make_card(
        trained,
        origin,
        metrics_of(folder_of_run, trained.name),
        title=name.split("/")[1] if name else out.resolve().name,
        source=name or str(out),
        licence=chosen,
        dataset=dataset,
    )
    text = config_text(trained, origin)
    tensors = {key: value for key, value in trained.state.items() if isinstance(value, Tensor)}
    metadata = {"format": "pt", "licence": chosen or origin.licence}
    with writing.whole_folder(out, MARK) as folder:
        files.write(folder / WEIGHTS_FILE, tensors, metadata, None)
        (folder / CONFIG).write_text(text, encoding="utf-8")
        (folder / CARD).write_text(str(card), encoding="utf-8")
    return chosen


def config_text(trained: Trained, origin: Origin) -> str:
    """The config of a published model: what is needed to predict, as plain values."""
    palette = trained.palette if isinstance(trained.palette, list | tuple) else None
    metainfo = dict(classes=trained.classes) | (dict(palette=palette) if palette else {})
    settings: dict[str, Any] = dict(
        default_scope=trained.scope,
        model=trained.model,
        test_dataloader=dict(dataset=dict(pipeline=trained.pipeline, metainfo=metainfo)),
        load_from=origin.began_from,  # which tells its licence; nothing is loaded from it
    )
    if trained.tta:
        settings |= dict(tta_model=trained.tta[0], tta_pipeline=trained.tta[1])
    text = str(Config(settings).pretty_text)
    settings_of(text)  # raises where it is more than plain values
    return text


def push(folder: Path, name: str, private: bool) -> str:
    """Push a published folder to the hub.

    Args:
        folder: What `publish` wrote.
        name: `USER/NAME`; it is made if it is not there.
        private: Whether only its owner sees it.

    Returns:
        Its address.

    Raises:
        SetupError: It cannot be pushed; the token is not shown.
    """
    api = HfApi()
    try:
        # None: as the owner has it by default.
        api.create_repo(name, private=private or None, exist_ok=True)
        info = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=[WEIGHTS_FILE, CONFIG, CARD],
            commit_message="A model of hiera_dense",
        )
    except Exception as error:  # its own, and those of the HTTP library under it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SetupError(
            f"{name} cannot be pushed: {type(error).__name__}: {reason}; expected a token that may "
            f"write there (`hf auth login`, or HF_TOKEN); {folder} is written"
        ) from None
    return str(info.repo_url)
