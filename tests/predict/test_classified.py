"""Results of classifiers: the best classes, pictures and files."""

import json
from pathlib import Path

import numpy as np
import pytest

from hiera_dense.errors import SetupError
from hiera_dense.predict.outputs import Outputs
from hiera_dense.predict.palette import colours
from hiera_dense.predict.results import Result

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")
SCORES = np.array([0.02, 0.4, 0.03, 0.25, 0.1, 0.15, 0.05], np.float32)


@pytest.fixture
def classified() -> Result:
    image = np.full((60, 90, 3), 80, np.uint8)
    return Result((60, 90), NAMES, colours(7), class_scores=SCORES, image=image, path="a.png")


def test_the_best_five_classes_are_reported(classified: Result) -> None:
    expected = {"bee": 0.4, "dog": 0.25, "fox": 0.15, "eel": 0.1, "gnu": 0.05}
    assert classified.best == pytest.approx(expected)
    assert list(classified.best) == list(expected)
    assert repr(classified).startswith("Result(a.png, 60 x 90 px: bee 40%, dog 25%, fox 15%")
    kept = classified.keep(0.3, ["ant"])  # of objects
    assert kept.best == classified.best
    assert len(kept) == 0


def test_values_are_those_of_json(classified: Result) -> None:
    values = json.loads(json.dumps(classified.to_dict()))
    assert values["classes"][0] == {"label": 1, "name": "bee", "score": 0.4}
    assert [entry["label"] for entry in values["classes"]] == [1, 3, 5, 4, 6]
    assert "objects" not in values


def test_a_picture_has_the_classes_below_it(classified: Result) -> None:
    picture = classified.draw()
    assert picture.width == 90
    assert picture.height > 60
    np.testing.assert_array_equal(np.asarray(picture)[:60], classified.image)
    assert classified.draw(legend=False).size == (90, 60)
    best = np.asarray(picture)[60:] == classified.palette[1]
    assert best.all(-1).sum() > 10  # its patch of colour


def test_forms_with_places_are_refused(classified: Result, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="a classifier's result for COCO; expected to_dict"):
        classified.to_coco()
    for save in ("coco", "txt", "masks"):
        with pytest.raises(SetupError, match=f"{save} of a classifier; expected json or none"):
            Outputs(tmp_path, save, False, NAMES, "classification")
    with Outputs(tmp_path, "json", True, NAMES, "classification") as outputs:
        outputs.image(classified, "b/a.png")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["a.json", "a.png"]
