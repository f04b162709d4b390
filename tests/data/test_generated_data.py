"""Generated data are refused by name, or load in the hosts to exactly what the check says."""

import copy
import json
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from PIL import Image
from pycocotools import mask as coco_mask
from support.folders import SIZE, coco, write_coco, write_image

from hiera_dense.data import check_coco, check_masks, processes
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all cases: thousands of them would take longer to make than what is tested."""
    return tmp_path_factory.mktemp("generated")


@pytest.fixture(autouse=True)
def _no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than what is tested."""
    for module in (check_coco, check_masks, processes):
        monkeypatch.setattr(module, "track", lambda items, *_, **__: items)


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
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        entries = content[
            draw(st.sampled_from(["annotations", "annotations", "images", "categories"]))
        ]
        number = draw(st.integers(0, len(entries) - 1))
        entry = entries[number]
        how = draw(st.integers(0, 11))
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


class Outcomes(Counter[str]):
    """How many cases were refused by name, and how many loaded."""

    def accepted(self, root: Path) -> Folder | None:
        """What a folder holds; None where it is refused."""
        try:
            folder = any_folder(str(root))
            # Images are looked at by `test_images`: here a process for each case would take long.
            tell(folder, check(folder, "none"))
        except DataError:
            self["refused"] += 1
            return None
        self["loaded"] += 1
        return folder

    def check(self, cases: int) -> None:
        """Nearly all cases were tried, and enough of them end either way."""
        assert self.total() >= 0.9 * cases
        assert self["loaded"] >= self.total() / 3
        assert self["refused"] >= self.total() / 5


def test_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = write_coco(tmp_path / "data")
    outcomes = Outcomes()

    @many(1200)
    @given(content=annotation_files())
    def hold(content: dict[str, Any]) -> None:
        (root / "instances_train.json").write_text(json.dumps(content))
        if folder := outcomes.accepted(root):
            _hold_annotations(root, folder)

    hold()
    outcomes.check(1200)


def _hold_annotations(root: Path, folder: Folder) -> None:
    init_default_scope("mmdet")
    data = DATASETS.build(
        dict(
            type="CocoDataset",
            data_root=folder["root"],
            ann_file=folder["train"]["annotations"],
            data_prefix=dict(img=folder["train"]["images"]),
            metainfo=dict(classes=folder["classes"]),
            filter_cfg=dict(filter_empty_gt=True, min_size=16),
            serialize_data=False,  # which collects garbage, of all that the hosts have loaded
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


SOUND_MASKS: dict[str, st.SearchStrategy[Any]] = dict(
    shape=st.just((30, 40)),
    dtype=st.just(np.uint8),
    values=st.lists(st.integers(0, 2), min_size=2, unique=True).flatmap(
        lambda values: st.sampled_from([values, [*values, 255]])
    ),
    suffix=st.sampled_from([".png", ".bmp", ".tif"]),
    is_cut=st.just(False),
)
OTHER_MASKS: dict[str, st.SearchStrategy[Any]] = dict(
    shape=st.sampled_from([(40, 30), (30, 40, 3), (30, 40, 2), (1, 40)]),
    dtype=st.sampled_from([bool, np.uint16, np.int32, np.float32]),
    values=st.one_of(
        st.sampled_from([[0, 255], [0, 128], [0, 1, 300], [0, 1, 2.5]]),
        st.lists(st.integers(0, 5), min_size=1, max_size=4),
        st.lists(st.integers(0, 255), min_size=1, max_size=4),
    ),
    suffix=st.sampled_from([".tiff", ".webp", ".jpg", ".gif"]),
    is_cut=st.just(True),
)


@st.composite
def mask_files(draw: Callable[..., Any]) -> tuple[str, bytes | None]:
    """Suffix and content of a sound mask, of which up to two things are something else."""
    number = draw(st.sampled_from([0, 0, 1, 1, 2]))
    changed = {draw(st.sampled_from(sorted(OTHER_MASKS))) for _ in range(number)}
    mask = {k: draw((OTHER_MASKS if k in changed else SOUND_MASKS)[k]) for k in SOUND_MASKS}
    with np.errstate(all="ignore"):
        pixels = np.resize(np.array(mask["values"]).astype(mask["dtype"]), mask["shape"])
    content = _file_of(pixels, mask["suffix"])
    return mask["suffix"], content[: len(content) // 2] if content and mask["is_cut"] else content


def _file_of(pixels: np.ndarray, suffix: str) -> bytes | None:
    """None where there is no such file."""
    file = BytesIO()
    kind = Image.registered_extensions()[suffix]
    try:
        Image.fromarray(pixels).save(file, kind, **(dict(lossless=True) if kind == "WEBP" else {}))
    except (OSError, TypeError, ValueError, KeyError):
        return None
    return file.getvalue()


def test_masks(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / split / "images/a.jpg")
        (tmp_path / split / "masks").mkdir()
    Image.init()
    outcomes = Outcomes()

    @many(600)
    @given(mask=mask_files(), named=st.booleans())
    def hold(mask: tuple[str, bytes | None], named: bool) -> None:
        suffix, content = mask
        assume(content is not None)
        for split in ("train", "val"):
            for old in (tmp_path / split / "masks").iterdir():
                old.unlink()
            file = tmp_path / split / f"masks/a{suffix}"
            file.write_bytes(content)
        if named:
            (tmp_path / "classes.txt").write_text("a\nb\nc\n")
        else:
            (tmp_path / "classes.txt").unlink(missing_ok=True)
        if folder := outcomes.accepted(tmp_path):
            _hold_masks(folder, tmp_path / f"train/masks/a{suffix}")

    hold()
    outcomes.check(600)


def _hold_masks(folder: Folder, file: Path) -> None:
    init_default_scope("mmseg")
    data = DATASETS.build(
        dict(
            type="hiera_dense.MaskFolder",
            data_root=folder["root"],
            data_prefix=dict(img_path="train/images", seg_map_path="train/masks"),
            metainfo=dict(classes=folder["classes"]),
            serialize_data=False,
            pipeline=[dict(type=name) for name in PIPELINE],
        )
    )
    loaded = data[0]["data_samples"].gt_sem_seg.data[0].numpy()
    assert np.array_equal(loaded, read_mask(file))
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
    folder: Path,
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
    path = folder / f"a.{kind.lower()}"
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
def test_any_text(folder: Path, text: str) -> None:
    file = folder / "a.json"
    file.write_text(text, "utf-8", "surrogatepass")
    with pytest.raises(DataError):
        read_coco(file)
