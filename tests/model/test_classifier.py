"""The classifier: logits equal to those of others for equal weights; its training with mmengine."""

from functools import partial
from pathlib import Path

import hiera
import pytest
import torch
from support import peers
from support.common import relative_error, shallow
from torch import nn

from hiera_dense.mm.classification import HieraClassifier
from hiera_dense.model.classifier import Classifier
from hiera_dense.weights.load import load_pretrained

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
FULL = ("tiny", "base_plus", "base_16x224")


def filled(arch: str | dict, peer_file: Path, **kwargs: object) -> HieraClassifier:
    """Ours from the file of a peer, every parameter of it."""
    model = HieraClassifier(arch, **kwargs).eval()
    report = load_pretrained(model, peer_file)
    assert report.filled == len(model.state_dict())
    return model


@pytest.mark.parametrize("name", [*peers.IMAGES, *peers.CLIPS])
@torch.no_grad()
def test_logits_equal_the_originals_before_its_softmax(name: str, tmp_path: Path) -> None:
    builders = peers.IMAGES | peers.CLIPS
    build = partial(peers.few_blocks, name, hiera.Hiera)
    peer = peers.fair(builders[name] if name in FULL else build)
    arch = name if name in FULL else peers.few_blocks_of_ours(name)
    ours = filled(arch, peers.save_fair(peer, tmp_path))
    inputs = torch.randn(1, 3, *((16, 224, 224) if name in peers.CLIPS else (224, 224)))
    probabilities = peer(inputs)
    peer.head.train()  # without a softmax, and it has no dropout
    assert relative_error(ours(inputs), peer(inputs)) < TOLERANCE
    assert relative_error(ours(inputs).softmax(-1), probabilities) < TOLERANCE


@torch.no_grad()
def test_logits_equal_timm(tmp_path: Path) -> None:
    peer = peers.of_timm("hiera_tiny_224")
    ours = filled("tiny", peers.save_bare(peer, tmp_path))
    images = torch.randn(2, 3, 224, 224)
    assert relative_error(ours(images), peer(images)) < TOLERANCE


@torch.no_grad()
def test_logits_equal_absolute_win_of_timm(tmp_path: Path) -> None:
    peer = peers.of_timm("hiera_small_abswin_256", num_classes=11)
    ours = filled("small_abswin", peers.save_bare(peer, tmp_path), num_classes=11)
    images = torch.randn(2, 3, 256, 256)
    assert relative_error(ours(images), peer(images)) < TOLERANCE


@torch.no_grad()
def test_logits_equal_transformers(tmp_path: Path) -> None:
    peer = peers.of_transformers("tiny", "classifier")
    ours = filled("tiny", peers.save_transformers(peer, tmp_path), num_classes=2)
    images = torch.randn(2, 3, 224, 224)
    assert relative_error(ours(images), peer(images).logits) < TOLERANCE


def test_of_other_classes_all_but_the_last_layer_is_filled(tmp_path: Path) -> None:
    path = peers.save_fair(peers.fair(peers.IMAGES["tiny"]), tmp_path)
    ours = Classifier("tiny", num_classes=5)
    before = ours.head.projection.weight.clone()
    report = load_pretrained(ours, path)
    assert "randomly initialised: head.projection.weight, head.projection.bias" in str(report)
    assert "not used: head (2)" in str(report)
    assert torch.equal(ours.head.projection.weight, before)
    assert torch.equal(ours.norm.weight, torch.load(path)["model_state"]["norm.weight"])


@torch.no_grad()
def test_a_masked_autoencoder_becomes_a_classifier(tmp_path: Path) -> None:
    path = peers.save_fair(peers.fair(peers.MAE["tiny"]), tmp_path)
    report = load_pretrained(HieraClassifier("tiny"), path)
    assert "randomly initialised: norm.weight, norm.bias, head.projection.weight" in str(report)


@torch.no_grad()
def test_intermediates_and_masks_as_in_the_original() -> None:
    peer = peers.fair(peers.IMAGES["tiny"])
    ours = Classifier("tiny", softmax_in_eval=True).eval()
    ours.load_state_dict(peer.state_dict())
    images = torch.randn(2, 3, 224, 224)
    mask = torch.rand(2, 49).argsort(1) < 20
    for args in ((images,), (images, mask)):
        theirs, maps = peer(*args, return_intermediates=True)
        result, stages = ours(*args, return_intermediates=True)
        assert relative_error(result, theirs) < TOLERANCE
        pairs = zip(stages, maps, strict=True)
        assert max(relative_error(a, b) for a, b in pairs) < 1e-4


def test_initial_head_is_small_as_the_originals() -> None:
    ours, theirs = Classifier("tiny").head.projection, hiera.hiera_tiny_224().head.projection
    assert ours.weight.std().item() == pytest.approx(theirs.weight.std().item(), rel=0.05)
    assert torch.allclose(ours.bias, theirs.bias)


def test_default_classes_are_the_published() -> None:
    assert HieraClassifier(shallow("tiny")).network.head.projection.out_features == 1000
    assert Classifier(shallow("base_16x224")).head.projection.out_features == 400
    with pytest.raises(ValueError, match="num_classes 0; expected an int, 1 or more"):
        Classifier(shallow("tiny"), num_classes=0)


@torch.no_grad()
def test_measures_are_those_of_the_true_class() -> None:
    model = HieraClassifier(shallow("tiny"), num_classes=8).eval()
    images = torch.randn(4, 3, 64, 64)
    order = model(images).argsort(1, descending=True)
    labels = torch.stack([order[0, 0], order[1, 1], order[2, 4], order[3, 5]])
    found = [sample["measures"] for sample in model(images, labels, mode="predict")]
    assert [m["top1"] for m in found] == [100.0, 0.0, 0.0, 0.0]
    assert [m["top5"] for m in found] == [100.0, 100.0, 100.0, 0.0]
    few = HieraClassifier(shallow("tiny"), num_classes=3).eval()
    assert set(few(images, labels * 0, mode="predict")[0]["measures"]) == {"top1"}
    assert "measures" not in few(images, mode="predict")[0]


def test_losses() -> None:
    images, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 1])
    plain = HieraClassifier(shallow("tiny"), num_classes=3, label_smoothing=0.1)
    loss = plain(images, labels, mode="loss")["loss"]
    expected = nn.CrossEntropyLoss(label_smoothing=0.1)(plain(images), labels)
    assert torch.equal(loss, expected)
    mixing = HieraClassifier(
        shallow("tiny"), num_classes=3, mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0)
    )
    assert mixing(images.clone(), labels, mode="loss")["loss"].isfinite()
    with pytest.raises(ValueError, match="no data_samples; expected the classes"):
        plain(images, mode="loss")
    with pytest.raises(ValueError, match="mixup of a batch of 3; expected an even number"):
        mixing(images[:3], labels[:3], mode="loss")
    with pytest.raises(ValueError, match="mixup has label_smoothing; expected that beside it"):
        HieraClassifier(shallow("tiny"), mixup=dict(label_smoothing=0.3))
