"""From what a user calls a checkpoint to a file on this machine.

Downloads go through torch.hub and huggingface_hub, into their caches.
"""

import difflib
import hashlib
import os
import re
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock
from huggingface_hub import hf_hub_download

from hiera_dense.errors import CheckpointError
from hiera_dense.weights.catalog import WEIGHTS, Weight
from hiera_dense.weights.files import INDEX

_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
WEIGHTS_FILE = "model.safetensors"
# What a folder may hold, in this order.
_IN_A_FOLDER = (
    WEIGHTS_FILE,
    f"{WEIGHTS_FILE}{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
_HUB_PREFIX = "hf-hub:"
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class Source(NamedTuple):
    """What a user called a checkpoint, understood.

    Attributes:
        said: What the user said.
        path: A file on this machine.
        url: A file elsewhere.
        hub: A repository on the Hugging Face hub and the name of a file in it.
        name: Where the weights stand in `catalog.WEIGHTS`: their name there.
    """

    said: str
    path: Path | None = None
    url: str | None = None
    hub: tuple[str, str] | None = None
    name: str | None = None

    @property
    def weight(self) -> Weight | None:
        """What is known about the weights."""
        return WEIGHTS[self.name] if self.name else None


def understand(source: str | Path) -> Source:
    """Tell what a source is; touches no network.

    Args:
        source: A name in `catalog.WEIGHTS`; a file (.pth, .pt, .safetensors, ...); a folder with
            `model.safetensors` or `pytorch_model.bin`, whole or in parts; a URL; or a repository
            of the Hugging Face hub: `ORG/NAME` where no folder `ORG` is, or
            `hf-hub:ORG/NAME[/FILE]`.

    Raises:
        FileNotFoundError: It looks like a file that is not there.
        CheckpointError: It is none of these.
    """
    said = str(source)
    if said in WEIGHTS:
        return _published(said, said)
    if said.startswith(_HUB_PREFIX):
        return _on_hub(said.removeprefix(_HUB_PREFIX))
    if said.startswith(("http://", "https://")):
        of_table = [name for name, weight in WEIGHTS.items() if weight.url == said]
        return Source(said, url=said, name=of_table[0] if of_table else None)
    path = Path(os.path.expanduser(said))
    if path.is_dir():
        there = [path / name for name in _IN_A_FOLDER if (path / name).is_file()]
        if not there:
            raise FileNotFoundError(f"{path} has none of the files {', '.join(_IN_A_FOLDER)}")
        path = there[0]
    if path.is_file():
        return Source(said, path=path)
    in_a_folder = path.parent != Path() and path.parent.is_dir()
    if isinstance(source, Path) or path.suffix in _SUFFIXES or in_a_folder:
        raise FileNotFoundError(f"{path}: no such file")
    if _HUB_ID.fullmatch(said):
        return _on_hub(said)
    close = difflib.get_close_matches(said, WEIGHTS, n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(close)}?" if close else ""
    raise CheckpointError(
        f"{said!r} is neither a file, a URL, a hub id (ORG/NAME) nor a name of published weights"
        f"{hint} (`hiera-dense weights` lists these)"
    )


def locate(source: Source, **hub_options: Any) -> Path:
    """The file of a source, downloaded where it has to be.

    Args:
        source: What `understand` gives.
        **hub_options: As for `from_hub`, where it is on the hub.

    Raises:
        CheckpointError: It cannot be downloaded; the message says where to put it.
    """
    if source.path:
        return source.path
    if not source.hub:
        return _from_url(source)
    try:
        return from_hub(*source.hub, **hub_options)
    except CheckpointError as error:
        if not (source.weight and source.weight.url and source.hub[0] == source.weight.hub):
            raise
        try:
            return _from_url(source._replace(url=source.weight.url))
        except CheckpointError as second:
            raise CheckpointError(f"{error}. And {second}") from None


def download(url: str, folder: Path) -> Path:
    """Download a file once; a part of it is never taken for the whole.

    Args:
        url: Where from. A hash in the name (`NAME-0123abcd.pth`, PyTorch's convention) is checked,
            and the length that the server tells.
        folder: Where to.

    Raises:
        CheckpointError: It cannot be had, or is not what it should be.
    """
    path = folder / url.split("?")[0].rsplit("/", 1)[-1]
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # the processes of one training want the same file
            if not path.is_file():
                _fill(path, url)
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: a hash that differs
        raise CheckpointError(
            f"cannot download {url}: {error}. Download it elsewhere, and put it at {path} or give "
            "the path of the file in place of its name"
        ) from None
    return path


def from_hub(repository: str, file: str, **hub_options: Any) -> Path:
    """Download a file of a repository, into the cache of huggingface_hub.

    Args:
        repository, file: Where it is.
        **hub_options: Of `huggingface_hub.hf_hub_download`.

    Raises:
        CheckpointError: It cannot be had.
    """
    try:
        return Path(hf_hub_download(repository, file, **hub_options))
    except Exception as error:  # its own, and those of the HTTP library under it
        url = f"https://huggingface.co/{repository}/resolve/main/{file}"
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise CheckpointError(
            f"cannot download {file} of {repository}: {reason}. Download {url} elsewhere, and give "
            "the path of the file in place of its name"
        ) from None


def _fill(path: Path, url: str) -> None:
    part = path.with_name(f"{path.name}.part")
    told = re.search(r"-(?!\d+\.)([0-9a-f]{8,})\.", path.name)  # digits alone are a date
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=30) as answer:
            expected = int(answer.headers.get("Content-Length", -1))
    except urllib.error.HTTPError:  # some servers allow no HEAD
        expected = -1
    try:
        torch.hub.download_url_to_file(url, str(part), told[1] if told else None)
        if expected not in (-1, received := part.stat().st_size):
            raise OSError(f"{received} of {expected} bytes arrived")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _from_url(source: Source) -> Path:
    """Published weights lie where torch.hub puts them; of other URLs many have the same name."""
    assert source.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not source.name:
        folder /= hashlib.sha256(source.url.encode()).hexdigest()[:8]
    return download(source.url, folder)


def _published(said: str, name: str) -> Source:
    weight = WEIGHTS[name]
    if weight.hub:
        return Source(said, hub=(weight.hub, weight.file), name=name)
    return Source(said, url=weight.url, name=name)


def _on_hub(said: str) -> Source:
    """Of `ORG/NAME` or `ORG/NAME/FILE`."""
    parts = said.split("/", 2)
    repository, file = "/".join(parts[:2]), "/".join(parts[2:])
    if not _HUB_ID.fullmatch(repository):
        raise CheckpointError(f"{said!r} on the hub; expected ORG/NAME or ORG/NAME/FILE")
    for known, weight in WEIGHTS.items():
        if repository == weight.hub and not file:
            return _published(said, known)
        if repository in (weight.hub, *weight.also):
            return Source(said, hub=(repository, file or WEIGHTS_FILE), name=known)
    return Source(said, hub=(repository, file or WEIGHTS_FILE))
