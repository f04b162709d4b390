"""A server for a trained model: the page of `app.py`, and the endpoint of `endpoint.py`."""

import asyncio
import atexit
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import hiera_dense
from hiera_dense.errors import SetupError
from hiera_dense.predict.predictor import SCORE
from hiera_dense.serve.endpoint import OWN, add_endpoint, handlers
from hiera_dense.serve.guard import Guard
from hiera_dense.serve.tables import name_of
from hiera_dense.serve.turns import Turns
from hiera_dense.serve.uploads import Limits

_STORED = 2_000_000_000  # bytes of uploads and pictures of the page
_KEPT = (60, 900)  # seconds: how often old files are looked for, and how old they may be


def make_app(
    predictor: Any,
    *,
    score: float = SCORE,
    limits: Limits | None = None,
    requests: int = 64,
    examples: Path | None = None,
) -> Any:
    """The page and the endpoint as one ASGI application.

    Args:
        predictor: What finds something in an image: it has `classes`, `palette`, `task` and
            `name`, and called with pixels (RGB, uint8, shape (H, W, 3)) it gives a `Result`.
        score: The lowest score of an object, where a request does not say another one.
        limits: What is taken.
        requests: How many may be under way at a time.
        examples: A folder of images that the page offers.

    Raises:
        SetupError: The model takes other images than RGB.
        ModuleNotFoundError: Gradio is not installed.
    """
    if (channels := getattr(predictor, "channels", 3)) != 3:
        raise SetupError(f"{predictor.name}: a model of {channels} channels; expected one for RGB")
    folder = Path(tempfile.mkdtemp(prefix="hiera-dense-serve-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # where the server never starts
    # Read by gradio: nothing is reported to its makers, and no folder of others is served.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "examples")
    import gradio
    from fastapi import FastAPI

    from hiera_dense.serve import app as page

    limits = limits or Limits()
    turns = Turns(requests)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(folder))
        try:
            yield
        finally:
            sweeper.cancel()
            turns.close()
            shutil.rmtree(folder, ignore_errors=True)

    server = FastAPI(
        title=f"{name_of(predictor)}, served by hiera-dense",
        version=hiera_dense.__version__,
        docs_url=None,  # they load scripts from another server
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers=handlers(),
    )
    add_endpoint(server, predictor, score, limits, turns)
    blocks = page.build(
        predictor,
        folder=folder,
        score=score,
        limits=limits,
        turns=turns,
        examples=examples,
        delete_cache=_KEPT,
    )
    gradio.mount_gradio_app(
        server,
        blocks,
        "/",
        show_error=False,
        max_file_size=limits.bytes,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        app_kwargs={"exception_handlers": handlers()},
        theme=page.theme(),
        css=page.CSS,
    )
    # Only `launch` sets this, and without it gradio takes any path for an uploaded file.
    blocks.has_launched = True
    return Guard(server, folder, OWN, limits.bytes, _STORED)


async def _sweep(folder: Path) -> None:
    """Remove what gradio forgets: uploads that were cut short, and the folders of removed files."""
    while True:
        await asyncio.sleep(_KEPT[0])
        await asyncio.to_thread(sweep, folder, _KEPT[1] + 300)


def sweep(folder: Path, age: float) -> None:
    """Remove files and empty folders that were last changed so many seconds ago."""
    oldest = time.time() - age
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes first
        if path.is_relative_to(folder / "examples"):
            continue
        with suppress(OSError):  # a folder that is not empty, a file that is gone by now
            if path.lstat().st_ctime < oldest:
                path.rmdir() if path.is_dir() else path.unlink()


def bind(host: str, port: int) -> socket.socket:
    """Take an address; clients can connect once `serve` runs. Port 0 is any free one.

    Raises:
        SetupError: The port is in use, or the address is not one of this machine.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise SetupError(
            f"port {port} of {host}: {error.strerror}; expected a free port, such as "
            f"--port {port + 1}, and an address of this machine"
        ) from None
    return listening


def address_of(listening: socket.socket) -> str:
    """What to open in a browser."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(app: Any, listening: socket.socket) -> None:
    """Answer requests until the process is interrupted."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        ws="none",
        limit_concurrency=500,
        timeout_graceful_shutdown=3,  # an open page holds a connection
    )
    uvicorn.Server(config).run(sockets=[listening])
