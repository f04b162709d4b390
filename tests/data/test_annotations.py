"""Fields of annotation files: refused by name, or rewritten, before any host reads them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope
from pycocotools import mask as coco_mask
from support.folders import POLYGON, coco, write_coco

from hiera_dense.data.annotations import read_coco
from hiera_dense.data.check import check
from hiera_dense.data.folders import Folder, any_folder, coco_folder, with_masks
from hiera_dense.data.rle import box_of, decode_counts, read_counts
from hiera_dense.data.segmentation import MAX_OUTLINE
from hiera_dense.errors import DataError

Change = Callable[[dict], object]


def field(**fields: object) -> Change:
    """Changes the first annotation."""
    return lambda content: content["annotations"][0].update(fields)


def image(**fields: object) -> Change:
    return lambda content: content["images"][0].update(fields)


def without(key: str) -> Change:
    return lambda content: content["annotations"][0].pop(key)


def rle(counts: object, size: object = (30, 40)) -> Change:
    return field(segmentation=dict(size=list(size), counts=counts))


WRONG: list[tuple[Change, str]] = [
    (field(id=2), "annotations that share an id; .*first 2 in instances_train.json"),
    (field(id="x"), "id that is no whole number; .*annotation 'x'"),
    (field(id=True), "id that is no whole number"),
    (field(id=1.5), "id that is no whole number"),
    (field(id=2**70), "id that is no whole number"),
    (field(image_id=9), "annotations of no image; .*first annotation 1 in .*: 9"),
    (field(category_id=9), "annotations of no category; .*: 9"),
    (field(category_id=[1]), r"category_id that is no whole number; .*\[1\]"),
    (field(bbox=None), "boxes that are not x, y, width, height; .*None"),
    (field(bbox=dict(x=1, y=2, width=3, height=4)), "boxes that are not x, y"),
    (field(bbox=[1, 2, float("nan"), 4]), "boxes that are not x, y"),
    (field(bbox=[1, 2, float("inf"), 4]), "boxes that are not x, y"),
    (field(bbox=[1, 2, True, 4]), "boxes that are not x, y"),
    (field(bbox=[1, 2, 1e9, 4]), "boxes of more than 10 times their image"),
    (field(bbox=[1, 2, 10**400, 4]), "boxes that are not x, y"),
    (field(area=float("nan")), "areas that are no finite number"),
    (field(area="large"), "areas that are no finite number; .*'large'"),
    (field(area=[]), "areas that are no finite number"),
    (field(iscrowd=2), "iscrowd that is not 0 or 1; .*: 2"),
    (field(iscrowd="no"), "iscrowd that is not 0 or 1"),
    (field(iscrowd=[0]), "iscrowd that is not 0 or 1"),
    (field(ignore={}), "ignore that is not 0 or 1"),
    (field(segmentation="polygon"), "masks that are neither polygons nor RLE"),
    (field(segmentation=[POLYGON[0][:4]]), "masks without an area; .*three points"),
    (field(segmentation=[[*POLYGON[0], 3]]), "polygons that are not x, y"),
    (field(segmentation=[[*POLYGON[0], None, 3]]), "polygons that are not x, y"),
    (field(segmentation=[[*POLYGON[0], float("nan"), 3]]), "polygons that are not x, y"),
    (field(segmentation=[[*POLYGON[0], [1], 3]]), "polygons that are not x, y"),
    (field(segmentation=[[*POLYGON[0], 1e9, 3]]), "polygons of more than 10 times their image"),
    (
        field(segmentation=[[0, 0, 400, 300] * int(MAX_OUTLINE / 600)]),
        "polygons of .*of endless outline",
    ),
    (field(segmentation=[dict(size=[30, 40], counts=[1200])]), "lists of RLE masks"),
    (rle("", (40, 30)), r"RLE masks of another size .*\[40, 30\], \[30, 40\]"),
    (rle([1200], (30.0, 40)), "RLE masks of another size"),
    (rle(None), "RLE masks that cannot be decoded; .*None"),
    (rle(""), "RLE masks that cannot be decoded"),
    (rle([100, 50]), "RLE masks that cannot be decoded"),
    (rle([100, 50, -50, 1100]), "RLE masks that cannot be decoded"),
    (rle([100.0, 1100]), "RLE masks that cannot be decoded"),
    (rle("x"), "RLE masks that cannot be decoded"),
    (rle("oooooooooo0"), "RLE masks that cannot be decoded"),
    (rle("\xe4"), "RLE masks that cannot be decoded"),
    (image(width="forty"), "width that is no whole number"),
    (image(width=0), "images of an impossible size"),
    (image(width=10**6, height=10**6), "images of an impossible size"),
    (image(file_name=None), "images without a file_name; .*None"),
    (image(file_name="\ud800.png"), "images without a file_name"),
    (image(file_name="../a.png"), "images outside of the folder"),
    (image(file_name="/a.png"), "images outside of the folder"),
    (image(file_name="a\0.png"), "images outside of the folder"),
    (lambda c: c["images"].append(c["images"][0]), "images that share an id; .*1 in instances"),
    (lambda c: c["annotations"].append(None), "annotations that are no objects; .*None"),
    (lambda c: c["categories"][0].update(name=3), "categories without a name; .*: 3"),
    (lambda c: c.update(categories=dict(a=1)), "has no categories"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_is_refused(tmp_path: Path, change: Change, message: str) -> None:
    content = coco()
    change(content)
    write_coco(tmp_path, train=content)
    with pytest.raises(DataError, match=message):
        any_folder(str(tmp_path))


def test_every_kind_is_counted(tmp_path: Path) -> None:
    content = coco(annotations=5)
    for annotation in content["annotations"][:3]:
        annotation["area"] = "?"
    field(iscrowd=7)(content)
    with pytest.raises(DataError) as caught:
        any_folder(str(write_coco(tmp_path, train=content)))
    assert [line.rsplit(", first", 1)[0] for line in str(caught.value).splitlines()[1:]] == [
        "  error: iscrowd that is not 0 or 1; expected 0 or 1: 1",
        "  error: areas that are no finite number; expected px: 3",
    ]


HARMLESS: list[tuple[Change, Change]] = [  # and what the hosts get
    (field(iscrowd="0"), field(iscrowd=0)),
    (field(iscrowd=False), field(iscrowd=0)),
    (without("iscrowd"), field(iscrowd=0)),
    (field(iscrowd="1"), field(iscrowd=1)),
    (field(ignore="0"), field(ignore=0)),
    (field(ignore=True), field(ignore=1)),
    (field(area="200.5"), field(area=200.5)),
    (without("area"), field(area=200.0)),
    (field(area=None), field(area=200.0)),
    (field(bbox=["4", "5", "20", "10"]), field(bbox=[4.0, 5.0, 20.0, 10.0])),
    (field(segmentation=POLYGON[0]), field(segmentation=POLYGON)),
    (field(segmentation=[[1, 2, 3, 4], *POLYGON]), field(segmentation=POLYGON)),
    (field(segmentation=[[str(x) for x in POLYGON[0]]]), field(segmentation=POLYGON)),
    (field(image_id="1"), field(image_id=1)),
    (field(category_id=7.0), field(category_id=7)),
    (image(width="40", height=30.0), image(width=40, height=30)),
]


@pytest.mark.parametrize(("change", "expected"), HARMLESS)
def test_what_is_harmless_is_rewritten_for_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, expected: Change
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content, right = coco(), coco()
    change(content)
    expected(right)
    root = write_coco(tmp_path / "data", train=content, val=content)
    before = (root / "instances_train.json").read_bytes()
    folder = any_folder(str(root))
    file = root / folder["train"]["annotations"]
    assert file.resolve().parent == tmp_path / "cache/hiera_dense/annotations"
    assert json.loads(file.read_text()) == right
    assert folder["train"]["original"] == "instances_train.json"
    assert (root / "instances_train.json").read_bytes() == before
    findings = check(folder).notes
    assert any("rewritten for the training" in kind for kind in findings)
    assert coco_folder(str(root)) == folder
    assert len(os.listdir(file.parent)) == 1


def test_a_byte_order_mark_and_what_is_no_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = write_coco(tmp_path / "data")
    file = root / "instances_train.json"
    file.write_text("\ufeff" + file.read_text())
    folder = coco_folder(str(root))
    assert json.loads((root / folder["train"]["annotations"]).read_text()) == coco()
    assert folder["val"] == dict(images="val", annotations="instances_val.json")
    for text, message in {
        "{": "is not JSON",
        "[" * 100_000: "nested too deeply",
        "[" * 900 + "]" * 900: "has no images",
        '{"images": ' + "9" * 5000 + "}": "is not JSON",
    }.items():
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            read_coco(file)
    file.write_bytes(b"\xff\xfe{")
    with pytest.raises(DataError, match="is not JSON"):
        read_coco(file)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(DataError, match="no file"):
        read_coco(file)


def test_duplicate_keys_are_read_as_the_hosts_read_them(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(coco()).replace('"area"', '"area": null, "area"'))
    assert read_coco(file).content == coco()
    assert not read_coco(file).findings.changed


def test_boxes_without_masks_are_for_recipes_of_boxes(tmp_path: Path) -> None:
    content = coco()
    for annotation in content["annotations"]:
        annotation["segmentation"] = []
    folder = coco_folder(str(write_coco(tmp_path, train=content)))
    assert folder["without_mask"] == 2
    assert not check(folder).errors
    with pytest.raises(DataError, match=r"2 annotations without a mask; .* boxes: faster-rcnn"):
        with_masks(folder)


def host(folder: Folder, split: str = "train") -> list[tuple[list, int]]:
    """Boxes and labels that mmdet's own data set teaches, of a folder of any size of images."""
    init_default_scope("mmdet")
    data = DATASETS.build(
        dict(
            type="CocoDataset",
            data_root=folder["root"],
            ann_file=folder[split]["annotations"],
            data_prefix=dict(img=folder[split]["images"]),
            metainfo=dict(classes=folder["classes"]),
            filter_cfg=dict(filter_empty_gt=True, min_size=16),
            pipeline=[],
            serialize_data=False,  # it cannot be of no image
        )
    )
    entries = [data.get_data_info(i) for i in range(len(data))]
    return [
        (instance["bbox"], instance["bbox_label"])
        for entry in entries
        for instance in entry["instances"]
        if not instance["ignore_flag"]
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (field(ignore=1), "marked ignore"),
        (field(iscrowd=1), "crowd region"),
        (field(area=0), "area not above 0"),
        (field(bbox=[4, 5, 0.5, 10], segmentation=[]), "box under 1 px"),
        (field(bbox=[60, 5, 9, 9], segmentation=[]), "box outside of its image"),
        (image(height=15), "in an image with a side under 16 px"),
    ],
)
def test_the_check_says_what_mmdet_leaves_out(tmp_path: Path, change: Change, reason: str) -> None:
    content = coco(annotations=1)
    change(content)
    folder = coco_folder(str(write_coco(tmp_path, train=content)))
    assert host(folder) == []
    errors = check(folder).errors
    kind = "training annotations of which none is learned from; expected one or more"
    if reason == "crowd region":
        kind += ", with iscrowd 0 (CVAT has 1 for what is drawn by brush)"
    assert errors[kind] == [f"1 left out: 1 {reason}"]


def test_boxes_of_other_meanings(tmp_path: Path) -> None:
    x, y, w, h = 15, 12, 20, 10
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    meanings = {
        "x, y of the centre, width and height": [x + w / 2, y + h / 2, w, h],
        "x1, y1, x2, y2": [x, y, x + w, y + h],
        "units of 0 to 1": [x / 40, y / 30, w / 40, h / 30],
        "units of 0 to 1, of the centre": [(x + w / 2) / 40, (y + h / 2) / 30, w / 40, h / 30],
    }
    for number, (meaning, box) in enumerate(meanings.items()):
        content = coco()
        for annotation in content["annotations"]:
            annotation.update(bbox=box, segmentation=[polygon])
        folder = coco_folder(str(write_coco(tmp_path / str(number), val=content)))
        (kind,) = [k for k in check(folder).errors if k.startswith("validation boxes")]
        assert kind.endswith(f"they are probably {meaning}")


@pytest.mark.parametrize("meaning", ["units of 0 to 1", "x1, y1, x2, y2"])
def test_boxes_of_other_meanings_without_masks(tmp_path: Path, meaning: str) -> None:
    content = coco()
    for annotation in content["annotations"]:
        box = [0.1, 0.2, 0.3, 0.4] if meaning.startswith("units") else [20, 15, 39, 29]
        annotation.update(bbox=box, segmentation=[])
    folder = coco_folder(str(write_coco(tmp_path, train=content)))
    (kind,) = [k for k in check(folder).errors if k.startswith("training boxes")]
    assert kind.endswith(f"they are probably {meaning}")


def test_compressed_rle_is_read_as_pycocotools_writes_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = rng.integers(1, 70, 2)
        mask = rng.random((height, width)) < rng.choice([0, 0.01, 0.5, 0.99, 1])
        text = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        counts = decode_counts(text["counts"].decode())
        assert counts is not None
        values = np.repeat(np.arange(counts.size) % 2, counts).reshape(width, height).T
        assert np.array_equal(values, mask)
        size = (int(width), int(height))
        assert read_counts(counts.tolist(), size) is not None
        assert read_counts(text["counts"].decode(), (size[0] + 1, size[1])) is None
        x, y, w, h = coco_mask.toBbox(text)
        assert box_of(counts, size[1]) == ((x, y, x + w, y + h) if mask.any() else None)
