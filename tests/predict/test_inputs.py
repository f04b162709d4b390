"""What a user may name as inputs of a prediction."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.videos import write_video

from hiera_dense.errors import DataError
from hiera_dense.predict.inputs import ImageFile, Video, find_inputs, opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/x.jpg", "a/b/x.png", "c/y.JPG", "c/clip.mp4", "c/notes.md", "c/.hidden.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(*inputs: str | Path) -> list[str]:
    return [item.name for item in find_inputs([str(name) for name in inputs])]


def test_a_folder_gives_its_images_and_videos(folder: Path) -> None:
    found = find_inputs([str(folder)])
    assert [item.name for item in found] == ["a/b/x.png", "a/x.jpg", "c/clip.mp4", "c/y.JPG"]
    assert [type(item) for item in found] == [ImageFile, ImageFile, Video, ImageFile]


def test_names_are_relative_to_the_folder_of_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(folder / "a" / "x.jpg") == ["x.jpg"]
    assert names(folder / "a" / "x.jpg", folder / "c" / "y.JPG") == ["a/x.jpg", "c/y.JPG"]
    assert names(folder / "a", folder / "a" / "x.jpg") == ["b/x.png", "x.jpg"]  # each once
    monkeypatch.chdir(folder / "a")
    assert names("x.jpg", "../c") == ["a/x.jpg", "c/clip.mp4", "c/y.JPG"]


def test_globs_and_lists(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(folder / "**" / "*.jpg") == ["x.jpg"]
    assert names(folder / "*" / "[xy].*") == ["a/x.jpg", "c/y.JPG"]
    (folder / "list.txt").write_text("a/x.jpg\n\n  c/y.JPG \n")
    assert names(folder / "list.txt") == ["a/x.jpg", "c/y.JPG"]  # beside the list
    monkeypatch.chdir(folder / "a")
    (folder / "c" / "list.txt").write_text("b/x.png\n")
    assert names(folder / "c" / "list.txt") == ["x.png"]  # from here


def test_cameras_and_streams() -> None:
    found = find_inputs(["0", "rtsp://camera/1", "http://camera/2"])
    assert found == [
        Video(0, "camera0"),
        Video("rtsp://camera/1", "stream1"),
        Video("http://camera/2", "stream2"),
    ]


def test_what_is_not_there_is_named(folder: Path) -> None:
    for name, said in {
        "no.jpg": r"no.jpg: no such file; expected an image, a video, a folder, a glob",
        "*.gif": r"matches no file; expected a pattern",
        "empty": r"no images or videos in it; expected files of .bmp",
        "empty.txt": r"empty; expected a path on each line",
        "pipe.jpg": r"is no file; expected an image",
        "binary.txt": r"not read .*; expected a path on each line",
    }.items():
        (folder / "empty").mkdir(exist_ok=True)
        (folder / "empty.txt").touch()
        (folder / "binary.txt").write_bytes(b"\xff\xfe\x00\xd8")
        if not (folder / "pipe.jpg").exists():
            os.mkfifo(folder / "pipe.jpg")
        with pytest.raises(DataError, match=said):
            find_inputs([str(folder / name)])


def test_frames_of_a_video(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", 8)
    video = Video(str(tmp_path / "clip.mp4"), "clip.mp4")
    with opened(video) as frames:
        assert (frames.rate, frames.expected) == (10, 8)
        read = list(frames)
    assert len(read) == frames.read == 8
    assert not frames.ended_early
    assert read[0].shape == (48, 64, 3)
    reds = [int(frame[..., 0].mean()) for frame in read]
    assert reds[-1] > reds[0] > 20  # RGB
    assert read[0][..., 2].mean() < 10
    with opened(video, last=3) as frames:
        assert len(list(frames)) == 3
    assert not frames.ended_early


def test_a_video_that_ends_early_says_so(tmp_path: Path) -> None:
    whole = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(40):
        writer.write(rng.integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with opened(Video(str(cut), "cut.avi")) as frames:
        count = len(list(frames))
    assert 10 < count < 35
    assert frames.expected == 40
    assert frames.ended_early


def test_videos_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with (
        pytest.raises(DataError, match=r"text.mp4: not read as a video; expected one that"),
        opened(Video(str(tmp_path / "text.mp4"), "text.mp4")),
    ):
        pass
    with (
        pytest.raises(DataError, match="camera 77: not there, or in use; expected a camera's"),
        opened(Video(77, "camera77")),
    ):
        pass
    with (
        pytest.raises(DataError, match=r"http://127.0.0.1:9/x: no stream that answers; expected"),
        opened(Video("http://127.0.0.1:9/x", "stream")),
    ):
        pass
