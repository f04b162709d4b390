"""Files of results, read back."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from support.results import SIZE, detections

from hiera_dense.data import images
from hiera_dense.errors import DataError, SetupError, WriteError
from hiera_dense.predict import video
from hiera_dense.predict.outputs import Outputs
from hiera_dense.predict.results import Result
from hiera_dense.predict.savers import json_lists


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def outputs(folder: Path, save: str, result: Result, pictures: bool = False) -> Outputs:
    task = "instances" if result.segmentation is None else "segmentation"
    return Outputs(folder, save, pictures, result.classes, task)


def test_pictures_keep_folders_and_jpeg(found: Result, tmp_path: Path) -> None:
    with outputs(tmp_path, "none", found, pictures=True) as out:
        for name in ("a/x.jpg", "b/x.jpg", "x.tif", "../up.png", "/abs/y.JPEG"):
            out.image(found, name)
    assert files_in(tmp_path) == {"a/x.jpg", "b/x.jpg", "x.png", "up.png", "abs/y.JPEG"}
    for name in files_in(tmp_path):
        assert images.read_image(tmp_path / name).size == (160, 120)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), np.asarray(found.draw()))


def test_inputs_of_one_name_do_not_overwrite_each_other(found: Result, tmp_path: Path) -> None:
    names = ["x.jpg", "x.png", "x.tif", "x.jpg", "X.JPG", "predictions.png"]
    with outputs(tmp_path, "json", found, pictures=True) as out:
        for i, name in enumerate(names):
            out.image(replace(found, path=str(i)), name)
    read = [json.loads(p.read_text())["image"] for p in tmp_path.rglob("*.json")]
    assert sorted(read) == [str(i) for i in range(len(names))]
    assert len(files_in(tmp_path)) == 2 * len(names)
    assert len({name.lower() for name in files_in(tmp_path)}) == 2 * len(names)


def test_picture_does_not_replace_the_image(found: Result, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(found.image).save(path)
    before = path.read_bytes()
    with (
        pytest.raises(SetupError, match="would replace it; expected another folder"),
        outputs(tmp_path, "none", found, pictures=True) as out,
    ):
        out.image(replace(found, path=str(path)), "x.png")
    assert path.read_bytes() == before


def test_json_of_each_image(found: Result, segmented: Result, tmp_path: Path) -> None:
    for folder, result in (("objects", found), ("classes", segmented)):
        with outputs(tmp_path / folder, "json", result) as out:
            out.image(result, "a/x.png")
        assert json.loads((tmp_path / folder / "a/x.json").read_text()) == result.to_dict()


def test_coco_of_all_images_is_read_by_pycocotools(
    found: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = detections([(20, 30, 9), (40, 70, 14)], (64, 96))
    with outputs(tmp_path, "coco", found) as out:
        for name, result in (("a/x.png", found), ("none.png", found.keep(1)), ("b/x.png", other)):
            out.image(result, name)
        assert files_in(tmp_path) <= {".predictions.json.part/predictions.json"}
    assert files_in(tmp_path) == {"predictions.json"}
    coco = COCO(str(tmp_path / "predictions.json"))
    assert [c["name"] for c in coco.loadCats([1, 2, 3])] == ["disc", "square", "triangle"]
    assert [i["file_name"] for i in coco.loadImgs([1, 2, 3])] == ["a/x.png", "none.png", "b/x.png"]
    assert len(coco.anns) == 5
    for image_id, result in ((1, found), (3, other)):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        assert np.array_equal([coco.annToMask(a) for a in annotations], result.masks)
        assert np.allclose([a["score"] for a in annotations], result.scores, atol=1e-6)
    assert coco.loadRes(list(coco.anns.values())).getAnnIds() == [1, 2, 3, 4, 5]


def test_coco_is_not_written_after_an_error(found: Result, tmp_path: Path) -> None:
    (tmp_path / "predictions.json").write_text("older")

    def fail() -> None:
        with outputs(tmp_path, "coco", found) as out:
            out.image(found, "x.png")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "predictions.json").read_text() == "older"
    assert files_in(tmp_path) == {"predictions.json"}


def test_lists_of_json_do_not_grow_in_memory(tmp_path: Path) -> None:
    """160 MB, with room for half of that."""
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from hiera_dense.predict.savers import json_lists\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with json_lists(Path(sys.argv[1]), {}, 'a', 'b') as add:\n"
        "    for i in range(16000): add('ab'[i % 2], {'x': 'y' * 10000})\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    path = tmp_path / "big.json"
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert path.stat().st_size > 160e6
    assert int(run.stdout) < 80e3  # KB
    path.unlink()


def test_lists_of_json_may_be_empty(tmp_path: Path) -> None:
    with json_lists(tmp_path / "a.json", {"x": 1}, "some", "none") as add:
        add("some", {"y": "é"})
    expected = {"x": 1, "some": [{"y": "é"}], "none": []}
    assert json.loads((tmp_path / "a.json").read_text()) == expected


def test_yolo_has_a_file_for_each_image_and_the_names(found: Result, tmp_path: Path) -> None:
    import yaml

    named = replace(found, classes=("disc: 1", 'a "b" #', "é"))
    with outputs(tmp_path, "txt", named) as out:
        out.image(named, "a/x.png")
        out.image(named.keep(1), "a/y.png")
    assert files_in(tmp_path) == {"data.yaml", "labels/a/x.txt", "labels/a/y.txt"}
    names = yaml.safe_load((tmp_path / "data.yaml").read_text(encoding="utf-8"))["names"]
    assert names == dict(enumerate(named.classes))
    lines = (tmp_path / "labels/a/x.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert (tmp_path / "labels/a/y.txt").read_text() == ""


def test_yolo_of_a_segmenter_is_refused(segmented: Result, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="expected json, coco or masks"):
        outputs(tmp_path, "txt", segmented)


@pytest.mark.parametrize(("classes", "dtype"), [(4, np.uint8), (256, np.uint8), (300, np.uint16)])
def test_mask_of_a_segmentation_has_its_labels(
    segmented: Result, tmp_path: Path, classes: int, dtype: type
) -> None:
    labels = segmented.segmentation.astype(np.int32)
    labels[labels == 2] = classes - 1
    names = tuple(f"class {i}" for i in range(classes))
    result = replace(segmented, segmentation=labels, classes=names)
    with outputs(tmp_path, "masks", result) as out:
        out.image(result, "a/x.jpg")
    read = np.asarray(Image.open(tmp_path / "masks/a/x.png"))
    assert read.dtype == dtype
    assert np.array_equal(read, labels)
    assert (tmp_path / "classes.txt").read_text().splitlines() == list(names)


def test_mask_of_objects_has_their_numbers_best_on_top(found: Result, tmp_path: Path) -> None:
    with outputs(tmp_path, "masks", found) as out:
        out.image(found, "x.jpg")
    numbers = np.asarray(Image.open(tmp_path / "masks/x.png"))
    assert set(np.unique(numbers)) == {0, 1, 2, 3}
    assert np.array_equal(numbers == 1, found.masks[0])
    assert np.array_equal(numbers == 2, found.masks[1] & ~found.masks[0])
    table = json.loads((tmp_path / "masks/x.json").read_text())
    assert [(o["id"], o["name"]) for o in table] == [(1, "disc"), (2, "square"), (3, "triangle")]
    assert "mask" not in table[0]
    many = detections([(60, 5 + i / 2, 3) for i in range(300)])
    with outputs(tmp_path, "masks", many) as out:
        out.image(many, "many.jpg")
    assert np.asarray(Image.open(tmp_path / "masks/many.png")).max() == 300


def test_masks_of_a_model_without_any_are_refused(tmp_path: Path) -> None:
    boxes = detections([(60, 80, 20)], with_masks=False)
    with (
        pytest.raises(SetupError, match="expected json, coco or txt"),
        outputs(tmp_path, "masks", boxes) as out,
    ):
        out.image(boxes, "x.png")


def frames_of(path: Path) -> tuple[list[np.ndarray], float]:
    """Frames, RGB, and the rate, by OpenCV."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    return frames, capture.get(cv2.CAP_PROP_FPS)


@pytest.fixture(params=["installed", "without PyAV"])
def encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether videos play in browsers: PyAV's or, where it is not installed, OpenCV's encoder."""
    if request.param != "installed":
        monkeypatch.setattr(video, "find_spec", lambda name: None)
    return video.notice() is None


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_video_has_all_frames_the_rate_and_the_colours(
    tmp_path: Path, size: tuple[int, int], encoder: bool
) -> None:
    colours = [(200, 30, 60), (20, 180, 90), (30, 60, 220), (128, 128, 128), (250, 250, 250)]
    path = tmp_path / "a/clip.mp4"
    with video.video_file(path, 30000 / 1001) as take:
        for i in range(20):
            take(Image.new("RGB", (size[1], size[0]), colours[i // 4]))
    frames, rate = frames_of(path)
    assert len(frames) == 20
    assert rate == pytest.approx(29.97, abs=0.01)
    assert frames[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    for i, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - colours[i // 4]).max() < 16
    head = path.read_bytes()
    if encoder:
        assert b"avc1" in head
        assert head.index(b"moov") < head.index(b"mdat")  # plays while it is loaded
    assert files_in(tmp_path) == {"a/clip.mp4"}


@pytest.mark.parametrize("rate", [0, float("nan"), -1, 1e9, float("inf")])
def test_rate_that_cannot_be_one_counts_as_25(tmp_path: Path, rate: float) -> None:
    with video.video_file(tmp_path / "a.mp4", rate) as take:
        take(Image.new("RGB", (64, 64)))
    assert frames_of(tmp_path / "a.mp4")[1] == 25


def test_frames_of_several_sizes_are_refused(tmp_path: Path, encoder: bool) -> None:
    def two_sizes() -> None:
        with video.video_file(tmp_path / "a.mp4", 25) as take:
            take(Image.new("RGB", (64, 64)))
            take(Image.new("RGB", (64, 32)))

    with pytest.raises(DataError, match="64 x 32 px; expected 64 x 64"):
        two_sizes()
    with (
        pytest.raises(DataError, match="no frames; expected at least one"),
        video.video_file(tmp_path / "a.mp4", 25),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_no_video(tmp_path: Path, encoder: bool) -> None:
    rng = np.random.default_rng(0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        with video.video_file(tmp_path / "a.mp4", 25) as take:
            for _ in range(30):
                take(Image.fromarray(rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)))

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(WriteError, match=r"a\.mp4: cannot be written"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_killed_process_leaves_no_video(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from PIL import Image\n"
        "from hiera_dense.predict.video import video_file\n"
        "with video_file(Path(sys.argv[1]), 25) as take:\n"
        "    while True: take(Image.effect_noise((320, 240), 90).convert('RGB'))\n"
    )
    path = tmp_path / "a.mp4"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    part = tmp_path / ".a.mp4.part" / "a.mp4"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 100_000) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert part.stat().st_size > 100_000
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not path.exists()
    with video.video_file(path, 25) as take:
        take(Image.new("RGB", (64, 64)))
    assert files_in(tmp_path) == {"a.mp4"}


@pytest.mark.parametrize("task", ["instances", "segmentation"])
def test_video_of_results(found: Result, segmented: Result, tmp_path: Path, task: str) -> None:
    result = found if task == "instances" else segmented
    results = [replace(result, image=np.roll(result.image, i, 1)) for i in range(5)]
    for save in ("json", "coco", "masks"):
        with (
            outputs(tmp_path / save, save, result, pictures=True) as out,
            out.video("a/clip.avi", 10) as take,
        ):
            for one in results:
                take(one)
        frames, rate = frames_of(tmp_path / save / "a/clip.mp4")
        assert (len(frames), rate) == (5, 10)
        assert frames[0].shape[1] == SIZE[1]
    values = json.loads((tmp_path / "json/a/clip.json").read_text())
    assert (values["video"], values["rate"]) == ("a/clip.avi", 10)
    assert values["frames"] == [{"frame": i, **result.to_dict()} for i in range(5)]
    coco = COCO(str(tmp_path / "coco/a/clip.json"))
    assert [(i["file_name"], i["frame"]) for i in coco.imgs.values()] == [
        ("a/clip.avi", i) for i in range(5)
    ]
    assert len(coco.anns) == 15
    masks = [n for n in files_in(tmp_path / "masks") if n.endswith(".png")]
    assert sorted(masks) == [f"masks/a/clip/{i:06d}.png" for i in range(5)]
