"""What all formats have in common: splits, the folder, the command; and the way back."""

import sys
from pathlib import Path

import numpy as np
import pytest
import supervision
from support.imported import Draw, counted, imported, objects

from hiera_dense import __main__
from hiera_dense.data.folders import any_folder
from hiera_dense.errors import DataError, SetupError
from hiera_dense.labels.importing import import_labels, recipe_for


@pytest.fixture
def export(tmp_path: Path, draw: Draw, text: Draw) -> Path:
    """Ten images with a box and ten without."""
    for number in range(20):
        draw(f"images/{number:02d}.png")
        line = f"{number % 2} 0.5 0.5 0.5 0.25\n" if number < 10 else ""
        text(f"labels/{number:02d}.txt", line)
    text("classes.txt", "cat\ndog\n")
    return tmp_path / "export"


def test_images_are_held_out_by_chance_alike_each_time(export: Path) -> None:
    halves = [set(objects(imported("yolo", export, val=0.3, seed=s), "val")) for s in (0, 0, 1)]
    assert halves[0] == halves[1] != halves[2]
    for half in halves:
        assert len(half) == 6
        assert sum(name < "10.png" for name in half) == 3  # of those with objects as many


def test_the_folder_is_what_recipes_read(export: Path) -> None:
    out = imported("yolo", export)
    folder = any_folder(str(out))
    assert folder["kind"] == "coco"
    assert folder["classes"] == ("cat", "dog")
    assert folder["without_mask"] == 10
    assert recipe_for(out, None) == "faster-rcnn-own-data"


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_share_that_is_none(export: Path, share: float) -> None:
    with pytest.raises(SetupError, match="expected a share between 0 and 1"):
        imported("yolo", export, val=share)


def test_one_labelled_image_cannot_be_divided(tmp_path: Path, draw: Draw, text: Draw) -> None:
    draw("a.png")
    text("a.txt", "0 .5 .5 .2 .2\n")
    with pytest.raises(DataError, match="no labelled images; expected two or more in all"):
        imported("yolo", tmp_path / "export")


def test_nothing_is_written_over_or_in_part(
    export: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "thesis.tex").write_text("all of it")
    with pytest.raises(SetupError, match="a folder of other files; expected a new folder"):
        imported("yolo", export)
    assert (new / "thesis.tex").read_text() == "all of it"
    (new / "thesis.tex").unlink()
    monkeypatch.setattr("hiera_dense.labels.importing.write_coco", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        imported("yolo", export)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "new"]
    assert not list(new.iterdir())


def test_damaged_images_are_left_out_and_counted(export: Path) -> None:
    (export / "images/00.png").write_bytes(b"no image")
    out = imported("yolo", export)
    assert counted(out, "lost") == {"images that cannot be read": 1}
    assert counted(out, "read")["images"] == 19


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "nowhere"}, "nowhere is not there, or no folder; expected the folder of an"),
        ({"source": "a.zip"}, "a.zip is packed; expected the folder that it unpacks to"),
        ({"images": Path("nowhere")}, "--images nowhere: no such folder"),
        ({"colours": Path("setup.py")}, "--colours with yolo|no such file"),
        ({"out": "export/new"}, "are in each other; expected another folder"),
    ],
)
def test_options_that_do_not_go_together(
    export: Path, options: dict[str, Path | str], message: str
) -> None:
    source, out = (
        export.parent / options.pop(key, default)
        for key, default in (("source", "export"), ("out", "new"))
    )
    with pytest.raises(SetupError, match=message):
        import_labels("yolo", source, out, **options)


def test_the_command_checks_what_it_wrote(
    export: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = export.with_name("new")
    monkeypatch.setattr(sys, "argv", ["x", "import", "yolo", str(export), "--out", str(out)])
    __main__.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "read: boxes: 10"
    assert any("splits by chance (share 0.2, seed 0): train: 16 images, 8" in x for x in lines)
    assert f"{out.resolve()}: 2 classes: cat, dog" in lines
    assert lines[-1] == f"next: hiera-dense train faster-rcnn-own-data --data {out}"


def test_what_another_library_wrote_and_reads_is_the_same(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From COCO's format to YOLO and Pascal VOC by supervision, imported, and read by it."""
    first = supervision.DetectionDataset.from_coco(
        str(toy / "instances/train"), str(toy / "instances/instances_train.json")
    )
    for found in first.annotations.values():
        found.mask = None  # whose polygons, as it writes them, leave out the last row and column
    first.as_yolo(str(tmp_path / "yolo/images"), str(tmp_path / "yolo/labels"),
                  str(tmp_path / "yolo/data.yaml"))  # fmt: skip
    (tmp_path / "yolo/data.yaml").write_text(f"train: images\nnames: {first.classes}\n")
    voc = tmp_path / "voc"
    first.as_pascal_voc(str(voc / "JPEGImages"), str(voc / "Annotations"))
    for kind in ("yolo", "voc"):
        out = tmp_path / f"new-{kind}"
        import_labels(kind, tmp_path / kind, out)
        seen = 0
        for split in ("train", "val"):
            back = supervision.DetectionDataset.from_coco(
                str(out / "images" / split), str(out / "annotations" / f"instances_{split}.json")
            )
            for path, _, found in back:
                (source,) = (p for p in first.image_paths if Path(p).name == Path(path).name)
                expected = first.annotations[source]
                names = [first.classes[i] for i in expected.class_id]
                assert [back.classes[i] for i in found.class_id] == names
                assert np.allclose(found.xyxy, expected.xyxy, atol=0.01)
                seen += len(found)
        assert seen == sum(map(len, first.annotations.values()))
