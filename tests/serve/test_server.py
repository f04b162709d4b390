"""The server of a trained model: its endpoint, what it refuses, and that it gives away no file."""

import json
import os
import re
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from support.common import ROOT

pytest.importorskip("gradio")
import httpx
from support.stand_in import CLASSES, MEGABYTES, app

pytestmark = pytest.mark.slow

SECRET = "of the server alone"
PASSWD = "/etc/passwd"


class Server(NamedTuple):
    """A server in a process of its own, and a client of it."""

    client: httpx.Client
    process: "subprocess.Popen[str]"
    folder: Path

    def predict(self, content: bytes, query: str = "", **headers: str) -> httpx.Response:
        return self.client.post(
            f"/predict{query}", files={"image": ("photo.png", content)}, headers=headers
        )

    def refuses(self, answer: httpx.Response, status: int, sentence: str) -> None:
        assert answer.status_code == status, answer.text
        assert sentence in answer.json()["error"]
        assert "Traceback" not in answer.text
        assert str(ROOT) not in answer.text


def started(*args: str) -> Iterator[Server]:
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "support.stand_in", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=env,
        cwd=ROOT,
    )
    assert process.stdout
    address = process.stdout.readline().strip()
    transport = httpx.HTTPTransport(retries=20)  # until it listens
    with httpx.Client(base_url=address, timeout=60, transport=transport) as client:
        found = re.search(r'"(/[^"]*hiera-dense-serve-\w+)', client.get("/config").text)
        assert found is None  # the page does not know where files lie before there are some
        own = client.post("/gradio_api/upload", files={"files": ("a.txt", b"mine")}).json()[0]
        yield Server(client, process, Path(own).parents[1])
    process.terminate()
    process.wait(20)
    assert not Path(own).parents[1].exists()  # with all uploads


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    yield from started("instances", "0", "64")


@pytest.fixture(scope="module")
def slow_server() -> Iterator[Server]:
    """It takes four requests at a time, each for 0.2 s."""
    yield from started("segmentation", "0.2", "4")


def picture(size: tuple[int, int] = (64, 48), mode: str = "RGB", kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.new(mode, size).save(file, kind)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG file that says it is as large, and has no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_endpoint_gives_what_the_predictor_finds(server: Server) -> None:
    answer = server.predict(picture())
    assert answer.status_code == 200
    found = answer.json()
    assert (found["height"], found["width"]) == (48, 64)
    assert [thing["name"] for thing in found["objects"]] == ["disc", "box"]
    assert found["objects"][0]["box"] == [0, 0, 16, 24]
    assert len(server.predict(picture(), "?score=0.1").json()["objects"]) == 3
    one = server.predict(picture(), "?score=0.1&classes=box").json()["objects"]
    assert [thing["name"] for thing in one] == ["box"]


@pytest.mark.parametrize(("accepted", "kind"), [("image/png", "PNG"), ("image/jpeg", "JPEG")])
def test_endpoint_gives_a_picture_to_whoever_asks_for_one(
    server: Server, accepted: str, kind: str
) -> None:
    answer = server.predict(picture(), accept=f"{accepted}, */*;q=0.5")
    assert answer.headers["content-type"] == accepted
    with Image.open(BytesIO(answer.content)) as drawn:
        assert (drawn.format, drawn.size) == (kind, (64, 48))
        assert np.asarray(drawn).any()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16", "CMYK"])
def test_images_of_other_modes_are_read_as_rgb(server: Server, mode: str) -> None:
    assert server.predict(picture(mode=mode, kind="TIFF")).status_code == 200


def test_health_names_the_model_but_not_where_it_lies(server: Server) -> None:
    assert server.client.get("/health").json() == {
        "status": "ok",
        "model": "run/best.pth",
        "task": "instances",
        "classes": list(CLASSES),
    }
    assert "/predict" in server.client.get("/openapi.json").json()["paths"]


WHOLE = picture((300, 200), kind="JPEG")
FIVE_CHANNELS = (  # TIFF: 8 x 8 px of 5 samples
    b"II*\0\x08\0\0\0\x08\0"
    + b"".join(
        struct.pack("<HHII", *field)
        for field in [
            (256, 3, 1, 8),
            (257, 3, 1, 8),
            (258, 3, 1, 8),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (273, 4, 1, 110),
            (277, 3, 1, 5),
            (279, 4, 1, 320),
        ]
    )
    + b"\0" * 324
)


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"", 400, "the file is empty; expected an image"),
        (b"no image", 400, "no image that can be read; expected JPEG, PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400, "no image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", 400, "no image that can be read"),
        (WHOLE[: len(WHOLE) // 2], 400, "damaged or cut short"),
        (FIVE_CHANNELS, 400, "no image that can be read"),
        (png_header(100_000, 100_000), 413, "expected at most 4 million pixels"),
        (png_header(3000, 2000), 413, "has 3000 x 2000 px; expected at most 4 million pixels"),
        (b"x" * int(MEGABYTES * 2**20 + 1), 413, "more than 2 MB; expected at most"),
        (b"x" * 10_000_000, 413, "the request has more than"),
    ],
    ids=["empty", "text", "svg", "eps", "cut", "channels", "bomb", "pixels", "bytes", "request"],
)
def test_what_is_no_image_is_refused_with_a_sentence(
    server: Server, content: bytes, status: int, sentence: str
) -> None:
    server.refuses(server.predict(content), status, sentence)


def test_requests_of_another_form_are_refused_with_a_sentence(server: Server) -> None:
    post, image = server.client.post, picture()
    for answer in (
        post("/predict", files={"picture": image}),
        post("/predict", files=[("image", image), ("image", image)]),
        post("/predict", files={"other": image}, data={"image": PASSWD}),
        post("/predict", data={"image": PASSWD}),
        post("/predict", json={"image": PASSWD}),
        post("/predict", content=image),
        post("/predict", content=b"--b", headers={"content-type": "multipart/form-data"}),
    ):
        server.refuses(answer, 400, "expected a form with a file in the field image")
    server.refuses(server.predict(image, "?score=2"), 422, "score '2'")
    server.refuses(server.predict(image, "?score=nan"), 422, "score 'nan'")
    server.refuses(server.predict(image, "?classes=dog"), 400, "classes dog; expected of disc")
    server.refuses(server.client.get("/predict"), 405, "GET /predict; expected POST /predict")
    server.refuses(server.client.get("/other"), 404, "no such page; expected / or /predict")


def test_body_that_does_not_say_its_size_is_cut_off(server: Server) -> None:
    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        yield from [b"x" * 1_000_000] * 8

    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = server.client.post("/predict", content=body(), headers=headers)
    server.refuses(answer, 413, "the request has more than")
    answer = server.client.post("/gradio_api/upload", content=body(), headers=headers)
    assert answer.status_code == 413


def test_failure_of_the_model_is_told_without_a_traceback(server: Server) -> None:
    failing = picture((13, 13))
    server.refuses(server.predict(failing), 500, "the server failed at this request")
    assert server.predict(picture()).status_code == 200


def memory(server: Server) -> float:
    """MB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1e3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_no_request_is_lost_and_memory_stays_flat(server: Server) -> None:
    image = picture((640, 480))
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(lambda _: server.predict(image), range(50)))
    assert Counter(answer.status_code for answer in answers) == {200: 50}
    assert len({answer.text for answer in answers}) == 1
    before, files = memory(server), set(server.folder.rglob("*"))
    for _ in range(300):
        assert server.predict(image).status_code == 200
    assert memory(server) - before < 30  # MB; the images alone would be 276
    assert set(server.folder.rglob("*")) == files


def test_requests_beyond_the_bound_are_told_to_come_back(slow_server: Server) -> None:
    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda _: slow_server.predict(picture()), range(20)))
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 503}
    assert counts[200] >= 4
    for answer in answers:
        if answer.status_code == 503:
            slow_server.refuses(answer, 503, "the server is busy; expected fewer requests")
            assert answer.headers["retry-after"] == "1"
    assert slow_server.predict(picture()).status_code == 200  # all places are free again


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


def test_no_file_of_the_server_is_served(server: Server, secret: Path) -> None:
    folder = server.folder
    (folder / "link").symlink_to(secret)
    (folder / "linked").symlink_to(secret.parent)
    places = [
        *(PASSWD, f"/{PASSWD}", str(secret), "/proc/self/environ", "/dev/stdin"),
        *(f"{folder}/../../{secret}", f"{folder}/%2e%2e/%2e%2e{secret}", "%2fetc%2fpasswd"),
        *("%252fetc%252fpasswd", f"{folder}/..%2f..%2f..{PASSWD}", "setup.py", "x%00/etc/passwd"),
        *(f"{folder}/link", f"{folder}/linked/secret.txt", str(folder), f"file://{secret}"),
        *("http://127.0.0.1:1/", "https://example.com/x.png", "//example.com/x.png"),
    ]
    for place in places:
        answer = server.client.get(f"/gradio_api/file={place}")
        assert answer.status_code == 403, place
        assert SECRET not in answer.text
        assert "root:" not in answer.text
    own = server.client.get(f"/gradio_api/file={next(folder.glob('*/a.txt'))}")
    assert own.text == "mine"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/file={PASSWD}"),
        ("GET", f"/gradio_api/file/{PASSWD}"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1:1/"),
        ("GET", "/static/..%2f..%2f..%2f..%2fetc%2fpasswd"),
        ("GET", "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd"),
        ("GET", "/gradio_api/custom_component/a/client/component/x.js"),
        ("GET", "/gradio_api/stream/a/b/0/playlist-file"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/gradio_api/dev/reload"),
        ("GET", "/monitoring"),
        ("GET", "/docs"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/call/show"),
        ("POST", "/gradio_api/run/show"),
        ("DELETE", "/gradio_api/queue/join"),
    ],
)
def test_what_the_page_does_not_need_is_closed(server: Server, method: str, path: str) -> None:
    answer = server.client.request(method, path)
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text


def said_file(path: Any) -> dict[str, Any]:
    return {"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}


def test_page_takes_no_path_for_an_upload(server: Server, secret: Path) -> None:
    before = set(server.folder.rglob("*"))
    inside = f"{server.folder}/../{secret.relative_to('/')}"
    for path in (PASSWD, str(secret), inside, "http://127.0.0.1:1/", "setup.py", [PASSWD], {}):
        for data in ([said_file(path), 0.3, []], [None, said_file(path), [said_file(path)]]):
            for route in ("queue/join", "run/predict"):
                answer = server.client.post(
                    f"/gradio_api/{route}",
                    json={"data": data, "fn_index": 1, "session_hash": "mine"},
                )
                server.refuses(answer, 403, "a file that was not uploaded")
    server.refuses(
        server.client.post("/gradio_api/queue/join", content=b"[" * 100_000), 400, "no JSON"
    )
    assert set(server.folder.rglob("*")) == before


def test_gradio_itself_refuses_paths_behind_the_guard(secret: Path) -> None:
    """Mounted, it would take any path for an upload, and serve a copy of the file."""
    from gradio.context import LocalContext
    from gradio.exceptions import InvalidPathError
    from gradio.processing_utils import move_files_to_cache
    from starlette.routing import Mount

    mounts = [route.app for route in app()._app.routes if isinstance(route, Mount)]
    (page,) = (mounted.blocks for mounted in mounts)
    block = next(iter(page.blocks.values()))
    token = LocalContext.blocks.set(page)
    try:
        with pytest.raises(InvalidPathError, match="was not uploaded"):
            move_files_to_cache(said_file(str(secret)), block, check_in_upload_folder=True)
    finally:
        LocalContext.blocks.reset(token)


def test_names_of_uploads_lead_nowhere(server: Server) -> None:
    for name in ("../../../../up.png", "/tmp/up.png", "..%2f..%2fup.png", ".bashrc"):
        answer = server.client.post("/gradio_api/upload", files={"files": (name, b"x")})
        assert Path(answer.json()[0]).resolve().is_relative_to(server.folder)


def test_uploads_are_never_run_as_pages(server: Server) -> None:
    for name in ("a.html", "a.svg"):
        script = b"<script>alert(1)</script>"
        own = server.client.post("/gradio_api/upload", files={"files": (name, script)}).json()[0]
        answer = server.client.get(f"/gradio_api/file={own}")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")


def test_page_asks_no_other_server_for_anything(server: Server) -> None:
    answer = server.client.get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    config = json.loads(server.client.get("/config").text)
    assert config["analytics_enabled"] is False
