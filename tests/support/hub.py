"""A small Hugging Face hub on this machine: repositories in memory, with its HTTP interface."""

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0" * 40
TOKEN = "hf_" + "secret" * 5


class Hub:
    """What is stored: the files of repositories, large ones by their hash too."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.private: dict[str, bool] = {}
        self.address = ""


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def _may(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._answer({"error": "Invalid credentials"}, 401)
        return False

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        if not self._may():
            return
        hub, parts = self.hub, path.strip("/").split("/")
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            hub.files.setdefault(name, {})
            hub.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
            self._answer({"url": f"{hub.address}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif "preupload" in path:
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for f in files
            ]
            self._answer({"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                o | {"actions": {"upload": {"href": f"{hub.address}/lfs/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            self._answer({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            store = hub.files["/".join(parts[2:4])]
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    store[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    store[value["path"]] = hub.large[value["oid"]]
            name = "/".join(parts[2:4])
            told = {"commitUrl": f"{hub.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT}
            self._answer(told | {"success": True})
        else:
            self._answer({"error": path}, 404)

    def do_PUT(self) -> None:
        content = self._body()
        digest = hashlib.sha256(content).hexdigest()
        self.hub.large[digest] = content
        self._answer({}, 200 if self.path == f"/lfs/{digest}" else 400)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        parts = path.strip("/").split("/")
        if path.startswith("/api/models/") and len(parts) >= 4:
            name = "/".join(parts[2:4])
            siblings = [{"rfilename": file} for file in self.hub.files.get(name, {})]
            self._answer({"id": name, "sha": COMMIT, "siblings": siblings})
            return
        content = self.hub.files.get("/".join(parts[:2]), {}).get("/".join(parts[4:]))
        if content is None:
            self._answer(b"", 404, X_Error_Code="EntryNotFound")
            return
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._answer(content, X_Repo_Commit=COMMIT, ETag=tag)

    do_HEAD = do_GET


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that listens at its `address`."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
