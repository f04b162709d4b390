"""Run-length encoding, against pycocotools both ways."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from hiera_dense.data.rle import counts_by_label, counts_of, decode_counts, encode_counts

sides = st.integers(1, 12)
parts = hnp.arrays(bool, st.tuples(st.integers(0, 9), st.integers(0, 9)))


@given(part=parts, before=st.tuples(sides, sides), after=st.tuples(sides, sides))
def test_part_of_an_image_is_encoded_as_pycocotools_encodes_the_whole(
    part: np.ndarray, before: tuple[int, int], after: tuple[int, int]
) -> None:
    before = (before[0] - 1, before[1] - 1)
    height, width = (sum(sizes) for sizes in zip(before, part.shape, after, strict=True))
    image = np.zeros((height, width), np.uint8, order="F")
    image[before[0] : before[0] + len(part), before[1] : before[1] + part.shape[1]] = part
    counts = counts_of(part, before, (height, width))
    text = encode_counts(counts)
    assert text == coco_mask.encode(image)["counts"].decode()
    rle = dict(size=[height, width], counts=text)
    assert np.array_equal(coco_mask.decode(rle), image)
    assert np.array_equal(decode_counts(text), counts)


@given(counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
@settings(max_examples=200)
def test_counts_of_any_length_are_written_as_pycocotools_writes_them(counts: list[int]) -> None:
    size = [sum(counts), 1]
    expected = coco_mask.frPyObjects(dict(size=size, counts=counts), *size)["counts"].decode()
    assert encode_counts(np.array(counts)) == expected
    assert np.array_equal(decode_counts(expected), counts)


def test_counts_of_very_large_images_are_written_and_read() -> None:
    counts = np.array([2**31 - 1, 0, 2**31 - 1, 1, 0, 2**30, 5])
    assert np.array_equal(decode_counts(encode_counts(counts)), counts)


@given(labels=hnp.arrays(np.uint8, st.tuples(sides, sides), elements=st.integers(0, 4)))
def test_each_label_of_a_segmentation_is_encoded_as_its_mask(labels: np.ndarray) -> None:
    found = counts_by_label(labels)
    assert list(found) == np.unique(labels).tolist()
    for label, counts in found.items():
        mask = np.asfortranarray(labels == label, np.uint8)
        assert encode_counts(counts) == coco_mask.encode(mask)["counts"].decode()
