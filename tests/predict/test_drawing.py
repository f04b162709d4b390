"""Pictures of results: what is seen in them, and where."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support.results import CLASSES, detections

from hiera_dense.errors import DataError, SetupError, WriteError
from hiera_dense.predict import drawing, lettering
from hiera_dense.predict.lettering import Labels, fitting, font_for
from hiera_dense.predict.palette import colours, palette_for, text_colour
from hiera_dense.predict.results import Result


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Of WCAG 2: from 1 to 21."""
    lights = []
    for colour in (one, other):
        share = np.array(colour) / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05)
    return max(lights) / min(lights)


def test_class_keeps_its_colour_whatever_the_number_of_classes() -> None:
    many = colours(300)
    assert len(set(many[:256])) == 256
    for count in (0, 1, 2, 20, 32, 33, 150):
        assert colours(count) == many[:count]


def test_colours_differ_from_each_other_and_from_black_and_white() -> None:
    few = np.array(colours(12), float)
    for one, other in itertools.combinations(few, 2):
        assert np.abs(one - other).max() > 50
    for colour in colours(256):
        assert contrast(colour, (0, 0, 0)) > 2.5
        assert contrast(colour, (255, 255, 255)) > 1.2
        assert contrast(colour, text_colour(colour)) > 4.5


def test_legible_palette_of_a_data_set_is_used() -> None:
    own = [(220, 20, 60), (0, 0, 142), (107, 142, 35)]
    assert palette_for(3, own) == tuple(own)
    assert palette_for(3, np.array(own)) == tuple(own)
    assert palette_for(1, [(1, 2, 3)]) == ((1, 2, 3),)
    greys = [(i, i, i) for i in range(3)]
    for bad in (None, "random", own[:2], [(0, 0, 300)] * 3, [(0, 0)] * 3, [None] * 3, greys, 7):
        assert palette_for(3, bad) == colours(3)
    assert palette_for(0, []) == ()


def test_masks_are_tinted_and_contoured_in_the_colour_of_their_class(found: Result) -> None:
    picture = np.asarray(found.draw(boxes=False, labels=False)).astype(int)
    assert found.masks is not None
    outside = ~found.masks.any(0)
    assert np.array_equal(picture[outside], found.image[outside])
    for mask, label in zip(found.masks, found.labels, strict=True):
        colour = np.array(found.palette[label])
        is_colour = (picture == colour).all(-1) & mask
        assert is_colour.sum() > 20  # the contour
        rows, columns = np.nonzero(mask)
        assert is_colour[rows[0], columns[0]]
    inside = picture[90, 130], found.image[90, 130], np.array(found.palette[2])
    share = (inside[0] - inside[1]) / (inside[2] - inside[1])
    assert np.allclose(share, share[0], atol=0.05)  # between image and colour
    assert 0.3 < share[0] < 0.6


def test_result_and_image_stay_as_they_are(found: Result, segmented: Result) -> None:
    for result in (found, segmented):
        before = result.image.copy()
        own = Image.fromarray(before)
        result.draw()
        result.draw(own)
        assert np.array_equal(result.image, before)
        assert np.array_equal(np.asarray(own), before)


def test_small_object_in_front_of_a_large_one_is_seen_whatever_their_scores() -> None:
    result = detections([(60, 80, 6), (60, 80, 50)])
    picture = np.asarray(result.draw(boxes=False, labels=False))
    small = (picture == result.palette[0]).all(-1)
    assert small.sum() > 20


def test_boxes_are_drawn_along_the_inside_of_their_edges() -> None:
    result = detections([(60, 80, 20)], with_masks=False)
    picture = np.asarray(result.draw(labels=False))
    is_colour = (picture == result.palette[0]).all(-1)
    left, top, right, bottom = result.boxes[0].astype(int)
    rows, columns = np.nonzero(is_colour)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (
        *(top, bottom - 1, left, right - 1),
    )
    assert is_colour[top, left:right].all()
    assert is_colour[top:bottom, left].all()
    assert not is_colour[60, 80]


@pytest.mark.parametrize("box", [(-30, -20, 10, 10), (150, 110, 400, 300), (20, 30, 20, 30)])
def test_boxes_beyond_the_image_and_without_area_are_drawn(box: tuple[int, ...]) -> None:
    result = detections([(60, 80, 20)], with_masks=False)
    result.boxes[0] = box
    picture = np.asarray(result.draw())
    assert (picture == result.palette[0]).all(-1).any()


def test_labels_are_inside_the_image_and_apart() -> None:
    rng = np.random.default_rng(1)
    font = font_for("", 12)
    lefts_tops = rng.uniform(-10, 300, (60, 2))
    boxes = np.concatenate([lefts_tops, lefts_tops + rng.uniform(2, 80, (60, 2))], 1)
    labels = Labels((240, 320), boxes, font)
    for box in boxes:
        labels.place(box, ["triangle 0.87", "triangle"], (255, 0, 0))
    plates = np.array([plate for plate, *_ in labels.placed])
    assert 15 < len(plates) < 60  # not all have room
    assert (plates[:, :2] >= 0).all()
    assert (plates[:, 2:] <= (320, 240)).all()
    for (a, text, _), (b, *_) in itertools.combinations(labels.placed, 2):
        common = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        area = (b[2] - b[0]) * (b[3] - b[1])
        assert common.clip(0).prod() <= 0.25 * area, text


def test_label_does_not_cover_its_small_object() -> None:
    for y, x in itertools.product((5, 60, 115), (5, 80, 155)):
        result = detections([(y, x, 4)])
        labels = Labels(result.size, result.boxes, font_for("", 10))
        labels.place(result.boxes[0], ["disc 0.95"], (255, 0, 0))
        ((left, top, right, bottom), *_), *_ = labels.placed
        assert not result.masks[0, top:bottom, left:right].any()


def test_ten_labels_of_one_place_are_all_drawn() -> None:
    box = np.array([100.0, 100, 300, 400])
    labels = Labels((480, 640), np.tile(box, (10, 1)), font_for("", 13))
    for i in range(10):
        labels.place(box, [f"name {i}"], (255, 0, 0))
    assert len(labels.placed) == 10


def test_text_is_on_its_plate_in_black_or_white() -> None:
    labels = Labels((60, 200), np.zeros((0, 4)), font_for("", 16))
    labels.place(np.array([10, 30, 50, 50]), ["triangle 0.87"], (255, 255, 0))
    canvas = Image.new("RGB", (200, 60), (0, 0, 255))
    labels.draw(ImageDraw.Draw(canvas))
    (left, top, right, bottom), *_ = labels.placed[0]
    pixels = np.asarray(canvas)
    plate = pixels[top:bottom, left:right]
    assert (plate == 0).all(-1).sum() > 50  # the letters
    assert (plate == (255, 255, 0)).all(-1).mean() > 0.4
    outside = np.ones((60, 200), bool)
    outside[top:bottom, left:right] = False
    assert (pixels[outside] == (0, 0, 255)).all()


@pytest.mark.parametrize(("size", "least"), [((96, 96), 10), ((4000, 6000), 60)])
def test_letters_grow_with_the_image(
    size: tuple[int, int], least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def noted(texts: str, size: int) -> lettering.Font:
        sizes.append(size)
        return font_for(texts, size)

    monkeypatch.setattr(drawing, "font_for", noted)
    detections([(size[0] / 2, size[1] / 2, size[0] / 4)], size).draw()
    assert least <= sizes[0] <= 2 * least


@pytest.mark.parametrize(
    "name", ["行人", "пешеход", "Fußgänger", "a\nb", "\ud800", "", "مشاة", "🚗", "x" * 500]
)
def test_any_name_is_drawn(name: str, segmented: Result) -> None:
    result = detections([(60, 80, 20)], classes=(name, "other"))
    assert not np.array_equal(np.asarray(result.draw()), np.asarray(result.draw(labels=False)))
    classes = ("background", name, "square", "triangle")
    tiny = Result((20, 24), classes, colours(4), segmentation=segmented.segmentation[40:60, 60:84])
    assert tiny.draw(np.zeros((20, 24, 3), np.uint8)).width == 24


def test_letters_that_pillows_font_lacks_come_from_another() -> None:
    """DejaVu Sans, which matplotlib brings along."""
    font = font_for("Fußgänger", 20)
    missing = bytes(font.getmask("\uffff"))
    assert all(bytes(font.getmask(letter)) != missing for letter in "ßä")
    assert font_for("person", 20).getname()[0] == "Aileron"


def test_text_is_cut_to_a_width() -> None:
    font = font_for("", 20)
    for width in (20, 60, 200):
        text = fitting("a name that is long", font, width)
        assert font.getlength(text) <= width
    assert fitting("short", font, 200) == "short"
    assert fitting("a name that is long", font, 60).startswith("a")


def test_segmentation_tints_classes_but_not_background(segmented: Result) -> None:
    picture = np.asarray(segmented.draw(legend=False)).astype(int)
    assert picture.shape == segmented.image.shape
    labels = segmented.segmentation
    assert np.array_equal(picture[labels == 0], segmented.image[labels == 0])
    for label in (1, 2):
        colour = np.array(segmented.palette[label])
        mixed = picture[labels == label]
        assert (mixed == colour).all(-1).sum() > 50  # the border
        inside = np.median(mixed, axis=0)
        assert np.allclose(inside, 100 + 105 / 255 * (colour - 100), atol=2)


def test_legend_is_below_the_picture_with_the_classes_that_are_there(segmented: Result) -> None:
    plain = np.asarray(segmented.draw(legend=False))
    picture = np.asarray(segmented.draw())
    assert np.array_equal(picture[: len(plain)], plain)
    legend = picture[len(plain) :]
    assert len(legend) > 20
    has = [(legend == colour).all(-1).sum() > 20 for colour in segmented.palette]
    assert has == [False, True, True, False]  # background is framed, triangle is not there
    assert (legend < 100).all(-1).any()  # letters


def test_frames_of_a_video_are_of_one_size(segmented: Result) -> None:
    nothing = Result(
        *(segmented.size, segmented.classes, segmented.palette),
        segmentation=np.zeros_like(segmented.segmentation),
        image=segmented.image,
    )
    many = tuple(f"a class of number {i}" for i in range(150))
    some = Result(segmented.size, many, colours(150), segmentation=segmented.segmentation)
    all_of_them = Result(
        *(segmented.size, many, colours(150)),
        segmentation=(np.arange(120 * 160) % 150).reshape(120, 160).astype(np.uint8),
    )
    assert nothing.draw(steady=True).size == segmented.draw(steady=True).size
    image = segmented.image
    assert some.draw(image, steady=True).size == all_of_them.draw(image, steady=True).size
    assert all_of_them.draw(image).height <= 2 * 120


def test_labels_that_no_class_has_are_left_as_they_are(segmented: Result) -> None:
    labels = segmented.segmentation.astype(np.int32)
    labels[:10] = 999
    result = Result(segmented.size, segmented.classes, segmented.palette, segmentation=labels)
    picture = np.asarray(result.draw(segmented.image))
    assert np.array_equal(picture[:10], segmented.image[:10])


def test_picture_without_an_image_is_refused(found: Result, tmp_path: Path) -> None:
    bare = Result(found.size, CLASSES, found.palette)
    with pytest.raises(DataError, match="no image to draw on; expected"):
        bare.draw()
    with pytest.raises(DataError, match="of 3 x 5 px; expected 120 x 160"):
        found.draw(np.zeros((3, 5, 3), np.uint8))
    path = tmp_path / "photo.png"
    lost = Result(found.size, CLASSES, found.palette, path=str(path))
    with pytest.raises(DataError, match=r"photo\.png"):
        lost.draw()
    Image.fromarray(found.image).save(path)
    assert np.array_equal(np.asarray(lost.draw()), found.image)


@pytest.mark.parametrize(("name", "kind"), [("a/b.png", "PNG"), ("b.JPG", "JPEG")])
def test_picture_is_saved_as_its_suffix_says(
    found: Result, tmp_path: Path, name: str, kind: str
) -> None:
    found.save(tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        assert picture.format == kind
        off = np.asarray(picture).astype(int) - np.asarray(found.draw())
    assert np.abs(off).mean() < (8 if kind == "JPEG" else 1e-9)  # noise is what JPEG is worst at
    assert [p.name for p in (tmp_path / name).parent.iterdir()] == [Path(name).name]


@pytest.mark.parametrize("name", ["b.txt", "b", "b.nef"])
def test_unknown_suffix_is_refused(found: Result, tmp_path: Path, name: str) -> None:
    with pytest.raises(SetupError, match=r"expected \.jpg"):
        found.save(tmp_path / name)


def test_full_disk_leaves_the_older_picture(
    found: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.png"
    path.write_bytes(b"older")

    def half(picture: Image.Image, part: Path, **_: object) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(WriteError, match="No space left"):
        found.save(path)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_the_truth_has_no_scores(found: Result) -> None:
    pictures = [
        np.asarray(replace(found, scores=np.full(3, score, np.float32)).draw(scores=False))
        for score in (0.2, 0.9)
    ]
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] != np.asarray(found.draw(labels=False))).any()  # names are there
    assert (pictures[0] != np.asarray(found.draw())).any()
