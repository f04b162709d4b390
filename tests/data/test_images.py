"""Image files and data sets of whole images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from PIL import Image

from hiera_dense.data.images import find_images, read_image, readable_suffixes
from hiera_dense.errors import DataError
from hiera_dense.mm.datasets import ClassFolders, Images

CROP = [dict(type="CenterCrop", size=(32, 32))]


def draw(path: Path, size: tuple[int, int] = (40, 32), value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path)
    return path


def test_images_are_found_at_any_depth_but_not_hidden(tmp_path: Path) -> None:
    found = [draw(tmp_path / name) for name in ("b.png", "a/x.JPG", "a/b/c.bmp")]
    draw(tmp_path / ".hidden.png")
    draw(tmp_path / ".hidden/d.png")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    assert find_images(tmp_path) == sorted(found)


def test_formats() -> None:
    assert {".png", ".jpg", ".tif", ".gif", ".webp", ".ppm", ".jp2"} <= set(readable_suffixes())
    assert not {".txt", ".mpg", ".h5", ".eps"} & set(readable_suffixes())


def test_an_image_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == (20, 40)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_of_16_bits_the_upper_8_are_read(suffix: str, tmp_path: Path) -> None:
    """As mmcv reads them for a detector."""
    values = np.array([[0, 255, 256, 25600, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"deep{suffix}")
    read = np.asarray(read_image(tmp_path / f"deep{suffix}"))
    assert read.shape == (1, 5, 3)
    assert read[0, :, 0].tolist() == [0, 0, 1, 100, 255]


def test_of_32_bits_values_up_to_255_are_read_as_they_are(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 7, 255]], dtype=np.int32)).save(tmp_path / "image.tif")
    assert np.asarray(read_image(tmp_path / "image.tif"))[0, :, 0].tolist() == [0, 7, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "LA"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    Image.new("L", (8, 8)).convert(mode).save(path)
    assert read_image(path).mode == "RGB"


def test_what_cannot_be_read_is_skipped_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("hiera_dense.mm.datasets.print_log", lambda text, *_: told.append(text))
    draw(tmp_path / "a.png", value=1)
    (tmp_path / "b.png").write_text("no image")
    draw(tmp_path / "c.png", value=3)
    data = DATASETS.build(dict(type="hiera_dense.Images", root=str(tmp_path), transforms=CROP))
    values = [data[i]["inputs"][0, 0, 0].item() for _ in "ab" for i in range(3)]
    assert values == [1, 3, 3] * 2
    (message,) = told
    assert message.startswith(f"skipped, cannot be read: {tmp_path / 'b.png'}")
    (tmp_path / "a.png").unlink()
    (tmp_path / "c.png").unlink()
    with pytest.raises(DataError, match="none of 3 images can be read"):
        data[0]


def test_every_so_manieth_is_held_out(tmp_path: Path) -> None:
    for i in range(7):
        draw(tmp_path / f"{i}.png", value=i)
    splits = [Images(str(tmp_path), CROP, hold_out=3, validation=v) for v in (False, True)]
    values = [[data[i]["inputs"].max().item() for i in range(len(data))] for data in splits]
    assert values == [[1, 2, 4, 5], [0, 3, 6]]


def test_inputs_are_bytes_and_labels_follow_the_names(tmp_path: Path) -> None:
    draw(tmp_path / "b/deeper/1.png", value=7)
    draw(tmp_path / "a/1.png")
    data = ClassFolders(str(tmp_path), CROP)
    assert data.metainfo == dict(classes=("a", "b"))
    sample = data[1]
    assert sample["inputs"].dtype == torch.uint8
    assert sample["inputs"].shape == (3, 32, 32)
    assert (sample["data_samples"], sample["inputs"].max()) == (1, 7)
    assert ClassFolders(str(tmp_path), CROP, ["b", "z", "a"])[0]["data_samples"] == 0
    with pytest.raises(DataError, match="has folders that are no class: b"):
        ClassFolders(str(tmp_path), CROP, ["a"])


def test_transforms_by_name(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    resize = dict(type="Resize", size=(64, 96), interpolation="bicubic", antialias=True)
    erase = [dict(type="PILToTensor"), dict(type="RandomErasing", p=1.0)]
    assert Images(str(tmp_path), [resize, *erase])[0]["inputs"].shape == (3, 64, 96)
    for name in ("Crop", "functional", 3):
        with pytest.raises(ValueError, match=r"unknown transform .*; expected one of torchvision"):
            Images(str(tmp_path), [dict(type=name)])


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image in"):
        Images(str(tmp_path), CROP)
    with pytest.raises(DataError, match="no image in the folders of"):
        ClassFolders(str(tmp_path), CROP)
