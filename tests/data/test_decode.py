"""Images are read as the hosts read them, and what is wrong with one is said by name."""

import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.folders import coco, write_coco, write_masks

from hiera_dense.data import decode
from hiera_dense.data.check import check
from hiera_dense.data.decode import HOSTS, PILLOW, Reader, reader_of, see, turns
from hiera_dense.data.folders import any_folder
from hiera_dense.data.kept import NARROW

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (30, 40, 3), dtype=np.uint8)


def written(path: Path, image: Image.Image | np.ndarray, turn: int = 1, **settings: object) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    exif = Image.Exif()
    if turn > 1:
        exif[decode.ORIENTATION] = turn
    image.save(path, exif=exif, **settings)
    return path


@pytest.mark.parametrize("flag", ["color", "grayscale", "unchanged", "color_ignore_orientation"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp", "gif"])
def test_the_reader_is_that_of_mmcv(tmp_path: Path, suffix: str, flag: str) -> None:
    from mmcv import imfrombytes

    content = written(tmp_path / f"a.{suffix}", PIXELS, turn=6).read_bytes()
    expected = imfrombytes(content, flag=flag)
    assert np.array_equal(decode._opencv(content, flag), expected)
    assert decode._opencv(b"", flag) is None
    assert decode._opencv(b"no image", flag) is None


def test_what_is_read(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.jpg", PIXELS)
    assert see(whole, HOSTS) == see(whole, None) == see(whole, PILLOW) == ((40, 30), None, ())
    turned = written(tmp_path / "b.jpg", PIXELS, turn=6)
    assert see(turned, HOSTS).size == see(turned, None).size == (30, 40)
    assert see(whole, Reader("pillow", "color")).size == (40, 30)


def test_what_is_not_read(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(written(tmp_path / "a.jpg", PIXELS).read_bytes()[:-300])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s.png"))
    problems = {
        damaged: "images that are cut short or damaged",
        written(tmp_path / "a.tga", PIXELS): "images that the training does not read (TGA of",
        written(tmp_path / "f.tif", PIXELS[..., 0].astype(np.float32)): "images that the training "
        "does not read (TIFF of mode F)",
        tmp_path / "empty.png": "unreadable images",
        tmp_path / "none.png": "missing images",
        tmp_path / "folder.png": "images that are no files",
        tmp_path / "pipe.png": "images that are no files",
        tmp_path / "s.png": "images that are no files",
    }
    for path, problem in problems.items():
        seen = see(path, HOSTS)
        assert seen.size is None
        assert (seen.problem or "").startswith(problem)


def test_headers_that_promise_too_much_take_no_memory(tmp_path: Path) -> None:
    """As PNG and as a format that Pillow does not know."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    png = tmp_path / "bomb.png"
    png.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert (see(png, HOSTS).problem or "").startswith("images of more than 179 million pixels")
    hdr = tmp_path / "bomb.hdr"
    hdr.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n")
    assert see(hdr, HOSTS).problem == "unreadable images"


@pytest.mark.parametrize("turn", [2, 3, 6, 8])
def test_orientation_that_the_reader_does_not_follow(tmp_path: Path, turn: int) -> None:
    assert turns("JPEG", turn)
    assert not turns("WEBP", turn)
    seen = see(written(tmp_path / "a.webp", PIXELS, turn=turn), HOSTS)
    assert seen.size == (40, 30)
    assert "whose EXIF orientation is not followed" in seen.remarks[0]
    assert not see(written(tmp_path / "a.jpg", PIXELS, turn=turn), HOSTS).remarks


def test_images_of_16_bits(tmp_path: Path) -> None:
    bright = written(tmp_path / "a.png", np.full((30, 40), 60_000, np.uint16))
    assert see(bright, HOSTS).remarks == ("images of 16 bits, read as 8 bits, the upper ones",)
    dark = written(tmp_path / "b.png", np.full((30, 40), 4000, np.uint16))
    assert "read as nearly black" in see(dark, HOSTS).remarks[0]


def test_the_reader_of_a_config(tmp_path: Path) -> None:
    load = dict(type="LoadImageFromFile", imdecode_backend="tifffile", color_type="unchanged")
    inner = dict(type="CocoDataset", pipeline=[load])
    assert reader_of(dict(type="RepeatDataset", dataset=inner)) == Reader("tifffile", "unchanged")
    assert reader_of(dict(pipeline=[dict(type="mmdet.LoadImageFromFile")])) == HOSTS
    assert reader_of(dict(pipeline=[dict(type="Mine")])) is None
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.zeros((30, 40, 5), np.uint16), planarconfig="contig")
    assert see(file, Reader("tifffile", "unchanged")) == ((40, 30), None, ())
    assert "TIFF images of many channels" in see(file, HOSTS).remarks[0]


def test_narrow_images(tmp_path: Path) -> None:
    content = coco()
    content["images"][0].update(width=1)
    root = write_coco(tmp_path / "a", val=content)
    Image.new("RGB", (1, 30)).save(root / "val/a.png")
    assert NARROW in check(any_folder(str(root))).errors
    root = write_masks(tmp_path / "b", [0, 1])
    for place, mode in (("images/training/a.jpg", "RGB"), ("annotations/training/a.png", "L")):
        Image.new(mode, (600, 1)).save(root / place)
    assert NARROW in check(any_folder(str(root))).errors


def test_pipes_among_images_are_not_waited_for(tmp_path: Path) -> None:
    root = write_masks(tmp_path, [0, 1])
    os.mkfifo(root / "images/training/b.jpg")
    os.mkfifo(root / "annotations/training/b.png")
    assert not check(any_folder(str(root))).errors
