"""The examples of docs/backbones.md run."""

from typing import Any

import pytest
import torch
from mmengine.registry import MODELS
from support.documents import examples

EXAMPLES = examples("docs/backbones.md")
LIBRARIES = ("timm", "smp", "torchvision", "transformers", "lightning", "mmpretrain")


def run(library: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(EXAMPLES[LIBRARIES.index(library)], space)
    return space


def test_each_library_has_an_example() -> None:
    assert len(EXAMPLES) == len(LIBRARIES)


def test_timm_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    run("timm")
    assert f"# {capsys.readouterr().out.strip()}" in EXAMPLES[0]


def test_segmenters_give_scores_of_each_pixel() -> None:
    assert run("smp")["scores"].shape == (1, 3, 64, 96)
    space = run("transformers")
    assert space["scores"].shape == (1, 3, 64, 96)
    assert [one.shape[2:] for one in space["maps"]] == [(25, 40), (13, 20), (7, 10), (4, 5)]


def test_detectors_of_torchvision_are_built() -> None:
    space = run("torchvision")
    assert set(space["found"][0]) == {"boxes", "labels", "scores", "masks"}
    assert space["one_stage"].backbone.out_channels == 256


def test_a_module_of_lightning_has_a_loss() -> None:
    module = run("lightning")["Segmenter"]()
    loss = module.training_step((torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64).long()))
    assert loss.isfinite()


def test_the_backbone_of_mmpretrain_gives_what_its_head_takes() -> None:
    model = run("mmpretrain")["model"]
    with torch.device("meta"):
        (features,) = MODELS.build(model["backbone"])(torch.empty(1, 3, 64, 64))
    assert features.shape[1] == model["head"]["in_channels"]
