"""Runs of tools in one process or several, each of which leaves what it knew at its end.

They are forked from a server that has imported the hosts once, and has no threads, as this one has.
"""

import gc
import json
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import torch
from mmengine.logging import MessageHub
from torch.distributed.fsdp import FullyShardedDataParallel

from hiera_dense.cli import train

PRELOADED = ["support.processes", "hiera_dense.cli.evaluate", "mmdet.apis", "mmseg.apis"]
LIMIT = 300  # seconds, for processes that wait for each other


def launch(args: list[str], processes: int = 0, main: Callable[[], None] = train.main) -> list[Any]:
    """Run a tool.

    Args:
        args: Its arguments, `--work-dir` among them.
        processes: 0: one, without a launcher.
        main: The tool.

    Returns:
        Of each process all values of its scalars, by name; its seed; and the number of weights
        that it `held`, where they were shared out.
    """
    context = _context()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = Path(args[args.index("--work-dir") + 1])
    place.mkdir(exist_ok=True)
    outs = [place / f"process_{rank}.json" for rank in range(max(processes, 1))]
    running = []
    for rank, out in enumerate(outs):
        own, variables = args, {"CUDA_VISIBLE_DEVICES": ""}
        if processes:
            ranks = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=processes, MASTER_PORT=port)
            variables |= {name: str(value) for name, value in ranks.items()}
            variables["MASTER_ADDR"] = "127.0.0.1"
            own = [*args, "--launcher", "pytorch"]
        running.append(context.Process(target=_work, args=(main, own, out, variables)))
        running[-1].start()
    for process in running:
        process.join(LIMIT)
        process.kill()
        process.join()
    for process, out in zip(running, outs, strict=True):
        assert process.exitcode == 0, out.with_suffix(".log").read_text()[-3000:]
    return [json.loads(out.read_text()) for out in outs]


def call(main: Callable[[], None], args: list[str], variables: dict[str, str]) -> str:
    """Run a tool as from the command line, and return what it printed.

    Args:
        main: The tool.
        args: Its arguments.
        variables: Of its environment, besides this process's.
    """
    with NamedTemporaryFile() as log:
        process = begin(main, args, Path(log.name), variables)
        process.join(LIMIT)
        process.kill()
        process.join()
        text = Path(log.name).read_text()
    assert process.exitcode == 0, text[-3000:]
    return text


def begin(
    main: Callable[[], None], args: list[str], log: Path, variables: dict[str, str]
) -> BaseProcess:
    """Start a tool, and return its process.

    Args:
        main: The tool.
        args: Its arguments.
        log: Where what it prints goes.
        variables: Of its environment, besides this process's.
    """
    process = _context().Process(target=_talk, args=(main, args, log, variables))
    process.start()
    return process


def _context() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # which the server does not get otherwise
    return context


def _talk(main: Callable[[], None], args: list[str], log: Path, variables: dict[str, str]) -> None:
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(variables)
    torch.set_num_threads(1)
    sys.argv = ["tool", *args]
    main()
    sys.stdout.flush()


def _work(main: Callable[[], None], args: list[str], out: Path, variables: dict[str, str]) -> None:
    _talk(main, args, out.with_suffix(".log"), variables)
    scalars = MessageHub.get_current_instance().log_scalars
    history = {name: scalars[name].data[0].tolist() for name in scalars}
    shards = [m for m in gc.get_objects() if issubclass(type(m), FullyShardedDataParallel)]
    held = max((sum(p.numel() for p in module.parameters()) for module in shards), default=0)
    out.write_text(json.dumps(dict(history, seed=torch.initial_seed(), held=held)))
