"""Every file of a stranger through every door of weights: refused in one line, and nothing run."""

import json
import sys
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.common import small_network
from support.hostile import HARMLESS, REFUSED
from torch import Tensor

from hiera_dense.cli import convert, export
from hiera_dense.errors import InputError
from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.mm.safe_loading import load_from_file
from hiera_dense.model.hiera import Hiera
from hiera_dense.weights import files
from hiera_dense.weights.load import load_pretrained

SMALL = small_network(8, (1, 1, 1, 1))


def _command(main: Callable[[], None], *args: str | Path) -> None:
    """Run a command; what it ends with is raised."""
    sys.argv = ["hiera-dense", *map(str, args)]
    try:
        main()
    except SystemExit as error:
        if isinstance(error.code, str):
            raise InputError(error.code) from None
        raise


def _configured(path: Path) -> None:
    HieraBackbone(SMALL, init_cfg=dict(type="Pretrained", checkpoint=str(path))).init_weights()


def _in_a_folder(path: Path) -> None:
    Hiera.from_pretrained(path.rename(path.with_name("pytorch_model.bin")).parent, arch=SMALL)


def _in_parts(path: Path) -> None:
    index = path.with_name("pytorch_model.bin.index.json")
    index.write_text(
        json.dumps(dict(weight_map=dict.fromkeys(Hiera(SMALL).state_dict(), path.name)))
    )
    load_pretrained(Hiera(SMALL), path.parent)


DOORS: dict[str, Callable[[Path], Any]] = {
    "load_pretrained": lambda path: load_pretrained(Hiera(SMALL), path),
    "a key": lambda path: load_pretrained(Hiera(SMALL), path, key="state_dict"),
    "from_pretrained": lambda path: Hiera.from_pretrained(path, arch=SMALL),
    "a folder": _in_a_folder,
    "an index": _in_parts,
    "init_cfg": _configured,
    "convert --info": lambda path: _command(convert.main, "--info", path),
    "convert": lambda path: _command(convert.main, path, path.with_name("out.safetensors")),
    "a checkpoint of a run": lambda path: _weights(load_from_file(str(path))),
}


def _weights(content: dict[str, Any]) -> None:
    """What is compared with a model after it is read; see test_whole_models.py."""
    for tensor in content["state_dict"].values():
        if not isinstance(tensor, Tensor) or tensor.is_sparse or not tensor.ndim:
            raise InputError("of another kind")
        if tensor.is_quantized:
            raise InputError("of another kind")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_file_is_refused_by_every_door(what: str, door: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "file.pth", tmp_path / "ran"
    REFUSED[what](Hiera(SMALL).state_dict(), path, mark)
    with pytest.raises(InputError) as error:
        DOORS[door](path)
    assert tmp_path.name in str(error.value) or door == "a checkpoint of a run"
    assert "Traceback" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert not mark.exists()
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", HARMLESS)
def test_nothing_beside_weights_is_run(what: str, door: str, tmp_path: Path) -> None:
    path, mark, kept = tmp_path / "file.pth", tmp_path / "ran", tmp_path / "keep.pth"
    kept.touch()
    HARMLESS[what](Hiera(SMALL).state_dict(), path, mark)
    with suppress(InputError):
        DOORS[door](path)
    assert not mark.exists()
    assert kept.exists()


@pytest.mark.parametrize("name", ["../file.pth", "/etc/passwd", "sub/file.pth", "a.index.json"])
def test_an_index_names_files_of_its_own_folder(name: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps(dict(weight_map={"pos_embed": name})))
    with pytest.raises(InputError, match="expected files of its own folder"):
        load_pretrained(Hiera(SMALL), tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 1}}', "[" * 100_000, "\xff"],
)
def test_an_index_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"index\.json"):
        load_pretrained(Hiera(SMALL), tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "[" * 100_000, "\xff", '{"arch": 3}'])
def test_arguments_that_are_none_are_named(text: str, tmp_path: Path) -> None:
    Hiera(SMALL).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"config\.json|arch"):
        Hiera.from_pretrained(tmp_path)


def test_a_model_that_is_far_larger_than_its_weights_is_not_built(tmp_path: Path) -> None:
    Hiera(SMALL).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | dict(in_channels=10**8)))
    with pytest.raises(
        InputError, match=r"config\.json asks for a model of 39,2.* values; .* bytes"
    ):
        Hiera.from_pretrained(tmp_path)


def test_files_of_other_trainings_are_read(tmp_path: Path) -> None:
    """With what facebookresearch's and timm's put beside weights."""
    state = Hiera(SMALL).state_dict()
    beside = dict(
        args=Namespace(lr=0.1, out=Path("a/b")),
        seen=defaultdict(list, a=[1]),
        numbers=np.arange(3.0),
        best=np.float32(0.5),
    )
    torch.save(dict(model=state, **beside), tmp_path / "file.pth")
    assert load_pretrained(Hiera(SMALL), tmp_path / "file.pth").filled == len(state)
    content, _ = files.read(tmp_path / "file.pth")
    assert vars(content["args"]) == dict(lr=0.1, out="a/b")
    assert content["seen"] == dict(a=[1])
    torch.save(dict(model=state, names=np.array(["a"])), tmp_path / "file.pth")
    with pytest.raises(InputError, match=r"refused.*numpy"):
        load_pretrained(Hiera(SMALL), tmp_path / "file.pth")


@pytest.mark.skipif(torch.__version__ < "2.9", reason="exports with torch 2.9 or newer")
def test_a_door_of_export_is_the_same(tmp_path: Path) -> None:
    """Building the model comes first, so one file is enough."""
    path, mark = tmp_path / "file.pth", tmp_path / "ran"
    REFUSED["code"](Hiera("tiny").state_dict(), path, mark)
    with pytest.raises(InputError, match="refused, since loading it could run code"):
        _command(export.main, tmp_path / "out.pt2", "--arch", "tiny", "--weights", path)
    assert not mark.exists()
