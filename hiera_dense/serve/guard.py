"""What stands before the page's server: it lets through what the page needs, and nothing else.

Gradio's server has more routes than the page uses. One fetches any public URL, and a request may
name a file that was never uploaded. So routes are listed here, and every path in a request has to
be one of the folder for uploads.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# What a browser asks for while it shows the page.
_READ = re.compile(
    r"/(config|theme\.css|manifest\.json|favicon\.ico|robots\.txt)?"
    r"|/(assets|static|svelte)/[\w./-]+"
    r"|/gradio_api/(queue/data|upload_progress|app_id|startup-events|info|heartbeat/\w+)"
)
_WRITE = re.compile(r"/gradio_api/(queue/join|run/predict|cancel|reset)")
_UPLOAD = "/gradio_api/upload"
_FILE = "/gradio_api/file="
_MOST_JSON = 1_000_000  # bytes of a request that is no upload
_ENVELOPE = 100_000  # bytes of a request around a file
_DRAINED, _PATIENCE = 200_000_000, 10.0  # bytes and seconds of a refused request that are read
_SAFE = {
    # The page loads nothing from other servers and tells them nothing.
    "content-security-policy": (
        "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; "
        "frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Refused(Exception):
    """A request that gets a status and a sentence instead of an answer."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Guard:
    """An ASGI application around another one, and around routes of our own.

    Args:
        app: The server with the page.
        folder: Where its uploads and pictures are; the only files it may serve.
        own: Paths of our own, and their methods.
        most_bytes: Of an uploaded file.
        most_stored: Bytes that the folder may hold before uploads are refused.
    """

    def __init__(
        self,
        app: App,
        folder: Path,
        own: Mapping[str, tuple[str, ...]],
        most_bytes: int,
        most_stored: int,
    ) -> None:
        self._app, self._folder, self._own = app, folder.resolve(), own
        self._most_bytes, self._most_stored = most_bytes, most_stored

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page uses no websockets
            return
        started, is_read = False, False

        async def tracked() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = not message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.encode(), value.encode()) for name, value in _SAFE.items()),
                ]
            await send(message)

        try:
            await self._app(scope, await self._checked(scope, tracked), answer)
        except Refused as refused:
            if not is_read:  # a client that still sends would be cut off, and not read the answer
                await _drain(tracked)
            if not started:
                await _say(answer, refused)

    async def _checked(self, scope: MutableMapping[str, Any], receive: Receive) -> Receive:
        """What hands out the body of a request that may pass.

        Raises:
            Refused: It may not.
        """
        method, path = scope["method"], scope["path"]
        if path in self._own:
            if method not in self._own[path]:
                raise Refused(405, f"{method} {path}; expected {self._own[path][0]} {path}")
            return receive_at_most(scope, receive, self._most_bytes + _ENVELOPE)
        if path.startswith(_FILE) and method in ("GET", "HEAD"):
            if not self._is_ours(path.removeprefix(_FILE)):
                raise Refused(403, "no such file; expected one of this page")
        elif path == _UPLOAD and method == "POST":
            if _size(self._folder) > self._most_stored:
                raise Refused(503, "the server holds many uploads; expected a later try")
            return receive_at_most(scope, receive, self._most_bytes + _ENVELOPE)
        elif _WRITE.fullmatch(path) and method == "POST":
            return await self._with_own_paths(scope, receive)
        elif not (_READ.fullmatch(path) and method in ("GET", "HEAD")):
            raise Refused(404, f"no such page; expected / or {' or '.join(self._own)}")
        return receive_at_most(scope, receive, _MOST_JSON)

    async def _with_own_paths(self, scope: MutableMapping[str, Any], receive: Receive) -> Receive:
        limited = receive_at_most(scope, receive, _MOST_JSON)
        body, more = b"", True
        while more:
            message = await limited()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the request was cut short; expected all of it")
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(400, "the request is no JSON; expected one of this page") from None
        for place in _paths(content):
            if not self._is_ours(place):
                raise Refused(403, "a file that was not uploaded; expected one of this page")
        is_handed_on = False

        async def again() -> Message:
            nonlocal is_handed_on
            if is_handed_on:
                return await receive()  # that the client went away
            is_handed_on = True
            return {"type": "http.request", "body": body, "more_body": False}

        return again

    def _is_ours(self, place: object) -> bool:
        """Whether a path leads to a file of the folder, however it is written."""
        if not isinstance(place, str) or "\0" in place or ":" in place.split("/")[0]:
            return False
        forms = {place, unquote(place), unquote(unquote(place))}
        try:
            return all(Path(form).resolve().is_relative_to(self._folder) for form in forms)
        except (OSError, RuntimeError, ValueError):
            return False


def receive_at_most(scope: MutableMapping[str, Any], receive: Receive, most: int) -> Receive:
    """What hands out a body, and raises Refused once it has more bytes."""
    refused = Refused(413, f"the request has more than {most / 1e6:g} MB; expected less")
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if not length.isdigit() or int(length) > most:
        raise refused
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise refused
        return message

    return limited


def _paths(content: Any) -> Iterator[object]:
    """Everything in a request that a file is named by."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
            if value.get("path") is not None:
                yield value["path"]


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())


async def _drain(receive: Receive) -> None:
    left, more = _DRAINED, True
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while more and left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                more = message.get("more_body", False)


async def _say(send: Send, refused: Refused) -> None:
    body = json.dumps({"error": str(refused)}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
