"""Files that a stranger might hand over; each leaves a mark where code of it is run."""

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from support.common import Runs

State = dict[str, Tensor]
Make = Callable[[State, Path, Path], None]
_COMMAND = "import os\nos.system('touch {mark}')\nown_data = dict(root=os.getcwd(), classes=())\n"


class Calls:
    """A pickle of it calls a function when it is read."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def _run(state: State, mark: Path, **more: Any) -> dict[str, Any]:
    """A checkpoint of a run, with something in it."""
    meta = dict(iter=1, epoch=0, seed=0)
    hub = dict(log_scalars={}, runtime_info={}, resumed_keys={})
    whole = dict(meta=meta, state_dict=state, message_hub=hub, optimizer={}, param_schedulers=[])
    return whole | more


def _code(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark, extra=Runs(mark)), path)


def _legacy_code(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark, extra=Runs(mark)), path, _use_new_zipfile_serialization=False)


def _nested_pickle(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark, extra=pickle.dumps(Runs(mark))), path)


def _module(state: State, path: Path, mark: Path) -> None:
    torch.save(nn.Linear(2, 2), path)


def _torchscript(state: State, path: Path, mark: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(path)


def _attribute(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark, extra=Calls(getattr, nn.Linear, "__init__")), path)


def _text_of_a_config(state: State, path: Path, mark: Path) -> None:
    content = _run(state, mark)
    content["meta"] |= dict(config=_COMMAND.format(mark=mark), cfg=_COMMAND.format(mark=mark))
    torch.save(content, path)


def _config_beside(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark), path)
    for name in ("mmdet.py", "mmseg.py"):
        (path.parent / name).write_text(_COMMAND.format(mark=mark))


def _removes_others(state: State, path: Path, mark: Path) -> None:
    hub = dict(best_ckpt=str(mark.with_name("keep.pth")), keep_ckpt_ids=["../keep", 1, 2])
    hub["best_score"] = float("nan")
    content = _run(state, mark)
    content["message_hub"]["runtime_info"] = hub
    torch.save(content, path)


def _rewritten(path: Path, change: Callable[[str, bytes], bytes], packing: int) -> None:
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in contents.items():
            archive.writestr(name, change(name, content))


def _compressed(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark, extra=torch.zeros(10_000_000)), path)
    _rewritten(path, lambda name, content: content, zipfile.ZIP_DEFLATED)


def _short_record(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark), path)
    cut = lambda name, content: content[:8] if "/data/" in name else content  # noqa: E731
    _rewritten(path, cut, zipfile.ZIP_STORED)


def _made_up_bytes(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark, extra=Calls(bytearray, 10**13)), path)


def _expanded(state: State, path: Path, mark: Path) -> None:
    huge = {name: torch.zeros(1).expand(10**13) for name in state}
    torch.save(_run(huge, mark), path)


def _flipped(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def _cut_short(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark), path)
    path.write_bytes(path.read_bytes()[:-100])


def _legacy_made_up_bytes(state: State, path: Path, mark: Path) -> None:
    content = _run(state, mark, extra=Calls(bytearray, 12 * 10**8))
    torch.save(content, path, _use_new_zipfile_serialization=False)


def _made_up_values(state: State, path: Path, mark: Path) -> None:
    torch.save(_run(state, mark, extra=Calls(torch.Tensor, 4 * 10**8)), path)


def _long_name(state: State, path: Path, mark: Path) -> None:
    path.write_bytes(b"\x80\x02}X\x01\0\0\0ac" + b"a" * 3_000_000 + b"\nb\ns.")


def _long_numbers(state: State, path: Path, mark: Path) -> None:
    prime = 2**61 - 1  # numbers that differ by it have one hash
    torch.save(_run(state, mark, extra={i * prime: 0 for i in range(8_000)}), path)


def _two_lists(state: State, path: Path, mark: Path) -> None:
    """Python reads the list of what is in an archive from its end, torch from where it is said."""
    torch.save(_run(state, mark), path)
    hidden = path.read_bytes()
    torch.save(_run(state, mark, extra=torch.zeros(100)), path)
    seen = path.read_bytes()
    path.write_bytes(hidden + seen)


def _shares_values(state: State, path: Path, mark: Path) -> None:
    shared = torch.zeros(2_000_000)
    torch.save(_run(state, mark, extra=[shared[start:] for start in range(1_500)]), path)


def _scalars(state: State, path: Path, mark: Path) -> None:
    torch.save(_run({name: torch.tensor(1.0) for name in state}, mark), path)


def _contains_itself(state: State, path: Path, mark: Path) -> None:
    content = _run(state, mark)
    content["state_dict"] = {"inner": content}
    torch.save(content, path)


def _many_times_the_same(state: State, path: Path, mark: Path) -> None:
    box: list[Any] = [torch.zeros(1)]
    for _ in range(200):
        box = [box, box]
    torch.save(_run(state, mark, message_hub=dict(log_scalars={"loss": box})), path)


def _deep(state: State, path: Path, mark: Path) -> None:
    path.write_bytes(b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * 200_000 + b"a" * 199_999 + b"s.")


def _header_length(state: State, path: Path, mark: Path) -> None:
    path.write_bytes((2**60).to_bytes(8, "little") + b"{}")


def _deep_header(state: State, path: Path, mark: Path) -> None:
    header = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def _range_outside(state: State, path: Path, mark: Path) -> None:
    entry = dict(dtype="F32", shape=[4], data_offsets=[10**9, 10**9 + 16])
    header = json.dumps(dict.fromkeys(state, entry)).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)


def _sparse(state: State, path: Path, mark: Path) -> None:
    torch.save(_run({name: torch.eye(4).to_sparse() for name in state}, mark), path)


def _quantized(state: State, path: Path, mark: Path) -> None:
    quantized = torch.quantize_per_tensor(torch.eye(4), 0.1, 0, torch.qint8)
    torch.save(_run(dict.fromkeys(state, quantized), mark), path)


def _without_values(state: State, path: Path, mark: Path) -> None:
    torch.save(_run({name: tensor.to("meta") for name, tensor in state.items()}, mark), path)


def _tar(state: State, path: Path, mark: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("PK"), io.BytesIO())


def _arrays(state: State, path: Path, mark: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **{name: tensor.numpy() for name, tensor in state.items()})


def _text(state: State, path: Path, mark: Path) -> None:
    path.write_text(_COMMAND.format(mark=mark))


def _empty(state: State, path: Path, mark: Path) -> None:
    path.write_bytes(b"")


def _by_name(*makes: Make) -> dict[str, Make]:
    return {make.__name__.strip("_").replace("_", " "): make for make in makes}


REFUSED = _by_name(
    _code,
    _legacy_code,
    _module,
    _torchscript,
    _attribute,
    _compressed,
    _short_record,
    _made_up_bytes,
    _legacy_made_up_bytes,
    _made_up_values,
    _long_name,
    _long_numbers,
    _two_lists,
    _scalars,
    _expanded,
    _flipped,
    _cut_short,
    _deep,
    _header_length,
    _deep_header,
    _range_outside,
    _sparse,
    _quantized,
    _without_values,
    _tar,
    _arrays,
    _text,
    _empty,
)
"""What writes a file, by what is wrong with it; no door takes any of them."""

HARMLESS = _by_name(
    _nested_pickle,
    _text_of_a_config,
    _config_beside,
    _removes_others,
    _contains_itself,
    _shares_values,
    _many_times_the_same,
)
"""Weights with something beside them; a door may take them, but nothing of it is run or removed."""
