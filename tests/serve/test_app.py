"""The page of a trained model: its parts, and the page in a browser."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.stand_in import CLASSES, StandIn

from hiera_dense.errors import DataError
from hiera_dense.predict.results import Result
from hiera_dense.serve import tables
from hiera_dense.serve.cached import Results, only
from hiera_dense.serve.turns import Busy, Turns
from hiera_dense.serve.uploads import Limits, TooLarge, open_video, read_image

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LIMITS = Limits(1.0, 1.0, 10)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (60, 40)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_another_threshold_needs_no_network(photo: Path) -> None:
    predictor = StandIn()
    results = Results(predictor, LIMITS, Turns())
    found = results.of(str(photo))
    assert len(found) == 3
    assert [len(only(results.of(str(photo)), score, CLASSES)) for score in (0.1, 0.5, 0.95)] == [
        *(3, 2, 0)
    ]
    assert only(found, 0.1, CLASSES[:1]).names == ["disc"]
    assert predictor.calls == 1


def test_oldest_results_are_forgotten(photo: Path) -> None:
    predictor = StandIn()
    results = Results(predictor, LIMITS, Turns(), most=20_000)
    other = photo.with_name("other.png")
    shutil.copy(photo, other)
    for path in (photo, other, other, photo):  # 7,200 bytes of pixels, 1,800 of masks
        results.of(str(path))
    assert predictor.calls == 2
    assert len(Results(predictor, LIMITS, Turns(), most=1).of(str(photo))) == 3


def test_classes_of_a_segmentation_are_switched_off(segmented: Result) -> None:
    assert only(segmented, 0, segmented.classes) is segmented
    one = only(segmented, 0, ["disc"])
    assert list(one.shares) == ["disc"]
    assert one.shares["disc"] == segmented.shares["disc"]
    assert tables.sentence_of(only(segmented, 0, [])).startswith("None of the chosen classes")
    assert np.asarray(one.draw()).any()


def test_sentences_say_what_was_found(found: Result, segmented: Result) -> None:
    assert tables.sentence_of(found) == "3 objects: 1 disc, 1 square, 1 triangle."
    assert tables.sentence_of(found.keep(2)).startswith("No objects found. A lower score")
    assert tables.sentence_of(segmented).startswith("3 classes; most of the image is background")


def test_tables_have_a_row_for_each_object_and_no_html_of_others() -> None:
    table = tables.table_of(StandIn()(np.zeros((40, 60, 3), np.uint8), score=0))
    assert table.count("<tr>") == 4
    assert "&lt;b&gt;star" in table
    assert "<b>" not in table
    assert "<td class='n'>300</td>" in table  # the area of a mask
    tally = tables.Tally(CLASSES, StandIn.palette)
    for score in (0.0, 0.5):
        tally.add(StandIn()(np.zeros((40, 60, 3), np.uint8), score=score))
    assert tally.table().count("2 of 2") == 2
    assert tally.table().count("1 of 2") == 1


def test_places_are_bounded_and_come_back() -> None:
    turns = Turns(requests=2)
    with turns.request():
        with turns.request(), pytest.raises(Busy, match="expected fewer requests"), turns.request():
            pass
        with turns.request():
            assert turns.run(lambda: 7).result() == 7
    turns.close()


def test_size_of_an_image_is_known_before_it_is_decoded() -> None:
    file = BytesIO()
    Image.new("1", (1001, 1000)).save(file, "PNG")
    with pytest.raises(TooLarge, match="1001 x 1000 px; expected at most 1 million"):
        read_image(file.getvalue(), LIMITS)


def test_playlists_and_images_are_no_videos(photo: Path) -> None:
    playlist = photo.with_name("list.mp4")
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{photo}\n")
    for path in (playlist, photo):
        with pytest.raises(DataError, match="no video that can be read; expected MP4"):
            open_video(path, LIMITS).__enter__()


def clip(path: Path, frames: int, size: tuple[int, int] = (64, 48)) -> Path:
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, size)
    for _ in range(frames):
        writer.write(np.zeros((size[1], size[0], 3), np.uint8))
    writer.release()
    return path


def test_long_and_broken_videos_are_refused(tmp_path: Path) -> None:
    with open_video(clip(tmp_path / "short.mp4", 4), LIMITS) as frames:
        assert len(list(frames)) == 4
    with pytest.raises(TooLarge, match="11 frames; expected at most 10"):
        open_video(clip(tmp_path / "long.mp4", 11), LIMITS).__enter__()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes((tmp_path / "short.mp4").read_bytes()[:100])
    with pytest.raises(DataError, match="no video") as told:
        open_video(broken, LIMITS).__enter__()
    assert str(tmp_path) not in str(told.value)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("gradio")
    import uvicorn
    from support.stand_in import app

    from hiera_dense.serve.server import address_of, bind

    listening = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app(), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield address_of(listening)
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="see `make browser`")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no browser; see `make browser`")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    """The page on a telephone; it may ask no other server, and report no error."""
    page = browser.new_page(
        viewport={"width": 390, "height": 844}, color_scheme=request.param, accept_downloads=True
    )
    strangers, errors = [], []
    page.on("request", lambda r: strangers.append(r.url))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(address)
    page.wait_for_selector("input[type=file]", state="attached")
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
    assert not [url for url in strangers if not url.startswith((address, "blob:", "data:"))]
    assert not errors


def says(page: Any, sentence: str) -> None:
    page.locator(".block.status:visible", has_text=sentence).wait_for(timeout=20_000)


@pytest.mark.slow
def test_image_in_a_browser(page: Any, photo: Path) -> None:
    says(page, "The result appears here.")
    page.locator("input[type=file]").first.set_input_files(photo)
    says(page, "2 objects: 1 disc, 1 box.")
    assert page.locator(".found tbody tr").count() == 2
    number = page.locator("input[type=number]").first
    for score, sentence in (
        ("0.1", "3 objects"),
        ("0.7", "1 object: 1 disc."),
        ("1", "No objects"),
    ):
        number.fill(score)
        number.press("Enter")
        says(page, sentence)
    number.fill("0.1")
    number.press("Enter")
    page.get_by_label("disc").click()
    says(page, "2 objects: 1 box")
    with page.expect_download() as download:
        page.get_by_text("Save JSON").first.click()
    assert download.value.suggested_filename == "photo-result.json"
    saved = json.loads(Path(download.value.path()).read_text())
    assert [thing["name"] for thing in saved["objects"]] == list(CLASSES[1:])


@pytest.mark.slow
def test_no_image_in_a_browser(page: Any, tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    page.locator("input[type=file]").first.set_input_files(text)
    says(page, "The file is no image that can be read; expected JPEG")


@pytest.mark.slow
def test_video_in_a_browser(browser: Any, address: str, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(address)
    page.get_by_role("tab", name="Video").click()
    page.get_by_role("button", name="Run").click()
    says(page, "Choose a video first.")
    page.locator("input[type=file]").nth(1).set_input_files(clip(tmp_path / "clip.mp4", 6))
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Run").click()
    says(page, "6 frames.")
    assert page.locator(".found:visible").inner_text().count("6 of 6") == 2
    page.close()
