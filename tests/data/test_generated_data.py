"""Generated data are refused by name, or load in the hosts to exactly what the check says."""

import copy
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from PIL import Image
from pycocotools import mask as coco_mask
from support.folders import SIZE, coco, write_coco, write_image

from hiera_dense.data.annotations import read_coco
from hiera_dense.data.boxes import mask_box
from hiera_dense.data.check import check, tell
from hiera_dense.data.decode import HOSTS, see
from hiera_dense.data.folders import Folder, any_folder
from hiera_dense.data.kept import why_not_learned
from hiera_dense.data.masks import read_mask
from hiera_dense.errors import DataError

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = SIZE
PIPELINE = ("LoadImageFromFile", "LoadAnnotations", "PackSegInputs")


def many(examples: int) -> Any:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


numbers = st.one_of(
    st.integers(-50, 100),
    st.floats(-50, 100),
    st.sampled_from([0, 1, -1, 1e9, -1e9, 10**30, float("nan"), float("inf"), 2**53 + 1, 1e-9]),
)
hostile = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.sampled_from(["", "0", "1", "12", "x", "1e5", "\ud800", "a.png", "../a.png", "\0", "-3.5"]),
    st.lists(numbers, max_size=9),
    st.lists(st.lists(numbers, max_size=9), max_size=3),
    st.dictionaries(st.sampled_from(["size", "counts", "id"]), numbers, max_size=2),
)
nested = st.recursive(hostile, st.lists, max_leaves=9)
polygons = st.lists(st.lists(st.integers(-5, 45), min_size=2, max_size=12), min_size=1, max_size=3)
texts = st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=20)
counts = st.one_of(texts, st.lists(st.integers(0, 1300), max_size=6))
FIELDS = ("bbox", "area", "iscrowd", "ignore", "segmentation", "width", "height", "file_name")
keys = st.sampled_from(("id", "image_id", "category_id", "name", *FIELDS))


@st.composite
def boxes(draw: Callable[..., Any]) -> list[float]:
    return [draw(st.floats(-10, 50)) for _ in range(2)] + [
        draw(st.floats(-2, 60)) for _ in range(2)
    ]


@st.composite
def whole_masks(draw: Callable[..., Any]) -> dict[str, Any]:
    """RLE in each of its forms."""
    left, top = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[top : top + draw(st.integers(0, 20)), left : left + draw(st.integers(0, 20))] = 1
    encoded = coco_mask.encode(mask)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    runs = np.diff([0, *edges, flat.size]).tolist()
    return dict(
        size=[HEIGHT, WIDTH], counts=draw(st.sampled_from([encoded["counts"].decode(), runs]))
    )


CHANGES: list[dict[str, st.SearchStrategy[Any]]] = [
    dict(bbox=boxes()),
    dict(segmentation=polygons),
    dict(segmentation=whole_masks()),
    dict(segmentation=st.fixed_dictionaries(dict(size=st.just([30, 40]), counts=counts))),
    dict(iscrowd=st.integers(0, 1), ignore=st.integers(0, 1)),
    dict(area=st.floats(-1, 500)),
]


@st.composite
def annotation_files(draw: Callable[..., Any]) -> dict[str, Any]:
    """A sound file, of which up to three places are something else."""
    content = coco(annotations=draw(st.integers(1, 5)))
    for _ in range(draw(st.integers(0, 3))):
        entries = content[
            draw(st.sampled_from(["annotations", "annotations", "images", "categories"]))
        ]
        number = draw(st.integers(0, len(entries) - 1))
        entry = entries[number]
        how = draw(st.integers(0, 8))
        if how == 0:
            entries[number] = draw(hostile)
        elif how == 1 and isinstance(entry, dict):
            entry.pop(draw(keys), None)
        elif how == 2:
            entries.append(copy.deepcopy(entry))
        elif how <= 4 and isinstance(entry, dict):
            entry[draw(keys)] = draw(hostile)
        elif isinstance(entry, dict) and "bbox" in entry:
            entry |= draw(st.one_of([st.fixed_dictionaries(change) for change in CHANGES]))
    return content


@many(1200)
@given(content=annotation_files())
def test_annotations(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]) -> None:
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        _hold_annotations(write_coco(root, train=content, val=coco()))


def _accepted(root: Path) -> Folder | None:
    """What a folder holds; None where it is refused by name."""
    try:
        folder = any_folder(str(root))
        tell(folder, check(folder))
    except DataError:
        event("refused")
        return None
    event("loaded")
    return folder


def _hold_annotations(root: Path) -> None:
    if (folder := _accepted(root)) is None:
        return
    init_default_scope("mmdet")
    data = DATASETS.build(
        dict(
            type="CocoDataset",
            data_root=folder["root"],
            ann_file=folder["train"]["annotations"],
            data_prefix=dict(img=folder["train"]["images"]),
            metainfo=dict(classes=folder["classes"]),
            filter_cfg=dict(filter_empty_gt=True, min_size=16),
            pipeline=[],
        )
    )
    read = read_coco(root / folder["train"]["annotations"])
    assert not read.findings.changed  # what was rewritten is read as it is
    read = read.content
    images = {image["id"]: image for image in read["images"]}
    labels = {category["id"]: i for i, category in enumerate(read["categories"])}
    learned = [a for a in read["annotations"] if why_not_learned(a, images[a["image_id"]]) is None]
    expected = sorted((a["image_id"], labels[a["category_id"]], a["bbox"]) for a in learned)
    load = TRANSFORMS.build(dict(type="LoadAnnotations", with_bbox=True, with_mask=True))
    found = []
    for number in range(len(data)):
        entry = data.get_data_info(number)
        taught = [i for i in entry["instances"] if not i["ignore_flag"]]
        found += [
            (entry["img_id"], i["bbox_label"], _as_corner_and_size(i["bbox"])) for i in taught
        ]
        entry["instances"] = [i for i in taught if "mask" in i]
        entry["ori_shape"] = (entry["height"], entry["width"])
        sizes = entry["ori_shape"][::-1]
        truth = [mask_box(i["mask"], sizes) for i in entry["instances"]]
        loaded = load(entry)
        assert not loaded["gt_ignore_flags"].any()
        masks = loaded["gt_masks"].masks
        assert masks.shape == (len(truth), HEIGHT, WIDTH)
        for mask, box in zip(masks, truth, strict=True):
            if box is None:
                assert not mask.any()
            elif mask.any():  # drawn, within a pixel of its outline
                rows, columns = mask.nonzero()
                drawn = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                assert drawn[0] >= box[0] - 1
                assert drawn[1] >= box[1] - 1
                assert drawn[2] <= box[2] + 1
                assert drawn[3] <= box[3] + 1
    assert [(i, c) for i, c, _ in sorted(found)] == [(i, c) for i, c, _ in expected]
    boxes_found, boxes_expected = ([b for *_, b in sorted(e)] for e in (found, expected))
    np.testing.assert_allclose(boxes_found, boxes_expected, atol=1e-6)


def _as_corner_and_size(box: list[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


@st.composite
def index_masks(draw: Callable[..., Any]) -> tuple[np.ndarray, str]:
    """Pixels of a mask and the suffix of its file."""
    shape = draw(
        st.sampled_from([(30, 40), (30, 40), (30, 40), (40, 30), (30, 40, 3), (30, 40, 2), (1, 40)])
    )
    dtype = draw(st.sampled_from([np.uint8, np.uint8, bool, np.uint16, np.int32, np.float32]))
    values = draw(
        st.one_of(
            st.sampled_from([[0, 1], [0, 1, 2, 255], [0, 255], [0, 128], [0, 1, 300], [0, 1, 2.5]]),
            st.lists(st.integers(0, 5), min_size=1, max_size=4),
            st.lists(st.integers(0, 255), min_size=1, max_size=4),
        )
    )
    suffix = draw(st.sampled_from([".png", ".tif", ".tiff", ".bmp", ".webp", ".jpg", ".gif"]))
    with np.errstate(all="ignore"):
        pixels = np.resize(np.array(values).astype(dtype), shape)
    return pixels, suffix


@many(500)
@given(mask=index_masks(), named=st.booleans(), cut=st.integers(0, 9))
def test_masks(
    tmp_path_factory: pytest.TempPathFactory,
    mask: tuple[np.ndarray, str],
    named: bool,
    cut: int,
) -> None:
    root = tmp_path_factory.mktemp("masks")
    pixels, suffix = mask
    file = BytesIO()
    try:
        image = Image.fromarray(pixels)
        kind = Image.registered_extensions()[suffix]
        image.save(file, kind, **(dict(lossless=True) if kind == "WEBP" else {}))
    except (OSError, TypeError, ValueError, KeyError):
        return  # there is no such file
    for split in ("train", "val"):
        write_image(root / split / "images/a.jpg")
        (root / split / "masks").mkdir()
        content = file.getvalue()
        content = content[: len(content) // 2] if cut == 0 else content
        (root / split / f"masks/a{suffix}").write_bytes(content)
    if named:
        (root / "classes.txt").write_text("a\nb\nc\n")
    if (folder := _accepted(root)) is None:
        return
    init_default_scope("mmseg")
    data = DATASETS.build(
        dict(
            type="hiera_dense.MaskFolder",
            data_root=folder["root"],
            data_prefix=dict(img_path="train/images", seg_map_path="train/masks"),
            metainfo=dict(classes=folder["classes"]),
            pipeline=[dict(type=name) for name in PIPELINE],
        )
    )
    loaded = data[0]["data_samples"].gt_sem_seg.data[0].numpy()
    assert np.array_equal(loaded, read_mask(root / f"train/masks/a{suffix}"))
    assert loaded.shape == (HEIGHT, WIDTH)
    assert set(np.unique(loaded)) <= {*range(len(folder["classes"])), 255}
    assert len(set(np.unique(loaded)) - {255}) >= 2


@many(600)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "TGA", "PPM", "JPEG2000"]),
    mode=st.sampled_from(["RGB", "L", "P", "RGBA", "CMYK", "I;16", "F", "I", "1", "LA"]),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    turn=st.integers(0, 8),
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=3),
    left=st.floats(0.05, 1.6),
)
def test_images(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    mode: str,
    size: tuple[int, int],
    turn: int,
    damage: list[tuple[float, int]],
    left: float,
) -> None:
    from mmcv import imfrombytes

    file = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    try:
        image = Image.fromarray(pixels)
        image = Image.new(mode, size) if mode in ("I;16", "F", "I") else image.convert(mode)
        image.save(file, kind, exif=exif)
    except (OSError, ValueError, TypeError):
        return  # there is no such file
    content = bytearray(file.getvalue())
    for place, value in damage:
        content[int(place * (len(content) - 1))] = value
    path = tmp_path_factory.mktemp("images") / f"a.{kind.lower()}"
    path.write_bytes(content[: int(left * len(content))])
    seen = see(path, HOSTS)
    try:
        read = imfrombytes(path.read_bytes())
    except Exception:  # whatever OpenCV says
        read = None
    if read is None:
        assert seen.problem or seen.remarks[0].startswith("TIFF images of many channels")
    elif seen.problem is None:
        assert seen.size == read.shape[1::-1]


@many(200)
@given(text=st.one_of(st.text(max_size=60), nested.map(json.dumps)))
def test_any_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("text") / "a.json"
    file.write_text(text, "utf-8", "surrogatepass")
    with pytest.raises(DataError):
        read_coco(file)
