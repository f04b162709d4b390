"""`hiera-dense predict` from the command line to its files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from support.training import run_in_process
from support.videos import write_video

from hiera_dense import Predictor
from hiera_dense.cli import predict
from hiera_dense.predict.hosts import HostModel

Run = Callable[..., None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command, in this process."""

    def run(*args: str | Path) -> None:
        run_in_process(monkeypatch, predict.main, *map(str, args))

    return run


@pytest.fixture
def mixed(toy: Path, tmp_path: Path) -> Path:
    """Three images, one of them in a folder, one that is damaged, and a video."""
    folder = tmp_path / "mixed"
    (folder / "more").mkdir(parents=True)
    images = sorted((toy / "instances" / "val").iterdir())
    shutil.copy(images[0], folder / "a.png")
    shutil.copy(images[1], folder / "more" / "a.png")
    Image.open(images[2]).convert("RGB").save(folder / "b.jpg")
    (folder / "damaged.png").write_bytes(images[0].read_bytes()[:300])
    write_video(folder / "clip.mp4", 5)
    return folder


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("host", ["mmdet", "mmseg"])
def test_a_folder_of_images_and_videos(
    run: Run,
    checkpoints: dict[str, Path],
    mixed: Path,
    tmp_path: Path,
    host: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        run(checkpoints[host].parent, mixed, "--out", out, "--score", "0")
    assert f"{mixed}/damaged.png: not read by the model's reader of images" in str(ended.value)
    assert f"{out}: results of 4 of 5 inputs" in capsys.readouterr().out
    stems = ("a", "more/a", "b", "clip")
    pictures = {"a.png", "more/a.png", "b.jpg", "clip.mp4"}
    assert files(out) == {f"{stem}.json" for stem in stems} | pictures
    written = json.loads((out / "more" / "a.json").read_text())
    expected = Predictor(checkpoints[host], score=0.0)(mixed / "more" / "a.png")
    assert written == json.loads(json.dumps(expected.to_dict()))
    picture = np.asarray(Image.open(out / "a.png").convert("RGB"))
    image = np.asarray(Image.open(mixed / "a.png").convert("RGB"))
    assert (picture[: len(image)] != image).any()
    assert cv2.VideoCapture(str(out / "clip.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 5


def test_results_as_one_data_set(
    run: Run, checkpoints: dict[str, Path], toy: Path, tmp_path: Path
) -> None:
    images = toy / "instances" / "val"
    run(
        *(checkpoints["mmdet"], images, "--out", tmp_path, "--save", "coco", "--no-pictures"),
        *("--score", "0", "--batch", "2", "--classes", "star"),
    )
    assert files(tmp_path) == {"predictions.json"}
    read = COCO(str(tmp_path / "predictions.json"))
    assert [i["file_name"] for i in read.loadImgs(read.getImgIds())] == sorted(
        path.name for path in images.iterdir()
    )
    names = {c["id"]: c["name"] for c in read.loadCats(read.getCatIds())}
    found = read.loadAnns(read.getAnnIds())
    assert found
    assert {names[one["category_id"]] for one in found} == {"star"}


def test_images_that_the_model_cannot_take_are_passed_over(
    run: Run, checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, size in (("a", (32, 32)), ("thin", (1, 3000)), ("z\n", (32, 32)), ("odd", (40, 40))):
        Image.new("RGB", size).save(folder / f"{name}.png")
    (folder / "itself.png").symlink_to("itself.png")
    result_of = HostModel._result

    def failing(self: HostModel, sample: Any, shape: tuple[int, ...], score: float) -> Any:
        if shape[0] == 40:
            raise RuntimeError("two\nlines")
        return result_of(self, sample, shape, score)

    monkeypatch.setattr(HostModel, "_result", failing)
    with pytest.raises(SystemExit) as ended:
        run(checkpoints["mmseg"], folder, "--out", tmp_path / "out", "--batch", "3")
    problems = str(ended.value).splitlines()[1:]
    assert [problem.split(":")[0] for problem in sorted(problems)] == [
        f"{folder}/itself.png",
        f"{folder}/odd.png",
        f"{folder}/thin.png",
    ]
    assert f"{folder}/odd.png: the model fails (RuntimeError: two lines); expected" in problems[1]
    assert files(tmp_path / "out") == {"a.png", "a.json", "z\n.png", "z\n.json"}


def test_frames_are_limited(run: Run, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", 9)
    run(checkpoints["mmseg"], tmp_path / "clip.mp4", "--out", tmp_path / "out", "--frames", "2")
    assert len(json.loads((tmp_path / "out" / "clip.json").read_text())["frames"]) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--classes", "moon"], "--classes moon; expected of disc, square, triangle, star"),
        (["--frames", "0"], "--frames 0; expected 1 or more"),
        (["--score", "2"], "score 2.0; expected 0 to 1"),
        (["--tile", "-1"], "tile -1; expected 1 or more"),
        (["--half", "--device", "cpu"], "half on cpu; expected a GPU of CUDA"),
        (["--tta"], "has no tta_model and tta_pipeline; expected both"),
        (["--weights", "none.pth"], "none.pth: no such file"),
    ],
)
def test_bad_options_end_with_one_line(
    run: Run, checkpoints: dict[str, Path], toy: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    image = next((toy / "instances" / "val").iterdir())
    with pytest.raises(SystemExit) as ended:
        run(checkpoints["mmdet"], image, "--out", tmp_path / "out", *options)
    assert said in str(ended.value)
    assert not (tmp_path / "out").exists()


def test_inputs_are_looked_for_before_the_model_is_read(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tmp_path / "no.pth", tmp_path / "no.jpg")
    assert "no.jpg: no such file; expected an image, a video" in str(ended.value)


def test_a_video_alone_gives_no_data_set_of_images(
    run: Run, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    write_video(tmp_path / "clip.mp4", 2)
    out = tmp_path / "out"
    run(checkpoints["mmdet"], tmp_path / "clip.mp4", "--out", out, "--save", "coco")
    assert files(out) == {"clip.json", "clip.mp4"}


def test_a_video_that_is_stopped_is_kept_so_far(
    run: Run,
    checkpoints: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_video(tmp_path / "clip.mp4", 9)
    shown = iter([None, KeyboardInterrupt])

    def show(window: object, result: object) -> None:
        if error := next(shown):
            raise error

    monkeypatch.setattr(predict._Window, "__call__", show)
    run(checkpoints["mmseg"], tmp_path / "clip.mp4", "--out", tmp_path / "out", "--show")
    said = capsys.readouterr().out
    assert "clip.mp4: stopped after 2 frames" in said
    assert "results of 1 of 1 inputs" in said
    assert len(json.loads((tmp_path / "out" / "clip.json").read_text())["frames"]) == 2
