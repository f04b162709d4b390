"""What trained weights began from, and the licence of that."""

from pathlib import Path
from typing import Any

import pytest

from hiera_dense.mm.began import began_from
from hiera_dense.weights.catalog import NON_COMMERCIAL, PERMISSIVE, WEIGHTS
from hiera_dense.weights.origin import RANDOM, origin_of

TINY = "hiera_tiny_224.mae_in1k"


def pretrained(source: str, kind: str = "Pretrained") -> dict[str, Any]:
    return dict(type=kind, checkpoint=source)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (dict(), None),
        (dict(model=dict(backbone=dict(type="X", init_cfg=None))), None),
        (dict(model=dict(backbone=dict(init_cfg=pretrained(TINY)))), TINY),
        (
            dict(model=dict(backbone=dict(init_cfg=pretrained(TINY, "hiera_dense.Pretrained")))),
            TINY,
        ),
        (dict(model=dict(backbone=dict(init_cfg=[dict(type="Kaiming"), pretrained("a")]))), "a"),
        (dict(model=dict(backbone=dict(init_cfg=dict(type="TruncNormal")))), None),
        (dict(model=dict(init_cfg=pretrained("whole.pth"), backbone=dict())), "whole.pth"),
        (dict(model=dict(pretrained="open-mmlab://resnet50", backbone=dict())), "open-mmlab://"),
        (dict(load_from="b.pth", model=dict(backbone=dict(init_cfg=pretrained("a")))), "b.pth"),
        (
            dict(load_from="iter_9.pth", resume=True, model=dict(init_cfg=pretrained("a"))),
            "a",
        ),
        (dict(load_from=3, model=7), None),
    ],
)
def test_a_config_tells_what_it_started_from(settings: dict, expected: str | None) -> None:
    found = began_from(settings)
    assert found == expected or (found or "").startswith(expected or "nothing")


def test_published_weights_have_their_licence() -> None:
    assert origin_of(TINY) == (TINY, NON_COMMERCIAL)
    assert origin_of("sam2.1_hiera_tiny") == ("sam2.1_hiera_tiny", PERMISSIVE)
    for name, weight in WEIGHTS.items():
        sources = [name, *([weight.hub] if weight.hub else []), *weight.also]
        for source in (*sources, *([weight.url] if weight.url else [])):
            found = origin_of(source)
            assert found.licence == weight.licence, source
            assert found.began_from in WEIGHTS


def test_others_are_unknown_and_random_weights_are_yours(tmp_path: Path) -> None:
    assert origin_of(None) == (None, RANDOM)
    own = tmp_path / "secret" / "own.pth"
    for there in (False, True):
        if there:
            own.parent.mkdir()
            own.touch()
        found = origin_of(str(own))  # the name alone: where it is is nobody's business
        assert found == ("own.pth", "unknown: began from own.pth")
    assert origin_of("C:\\runs\\a.pth").began_from == "a.pth"
    assert origin_of("https://a/b.pth").licence == "unknown: began from https://a/b.pth"
    assert origin_of("some/where").licence == "unknown: began from some/where"
    assert origin_of("bad\0name").licence.startswith("unknown: began from ")
