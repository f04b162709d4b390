"""Our architectures as encoders of segmentation_models.pytorch, through timm."""

import pytest
import segmentation_models_pytorch as smp
import torch

import hiera_dense.timm  # noqa: F401  # registers the names
from hiera_dense.errors import SetupError

ENCODER = "tu-hiera_dense_tiny"


@pytest.mark.parametrize("decoder", ["Unet", "FPN", "UPerNet", "Segformer"])
def test_a_segmenter_trains_a_step(decoder: str) -> None:
    model = smp.create_model(decoder, ENCODER, encoder_weights=None, in_channels=4, classes=3)
    assert model.encoder.out_channels == [4, 0, 96, 192, 384, 768]
    images, labels = torch.randn(2, 4, 64, 96), torch.randint(0, 3, (2, 64, 96))
    scores = model(images)
    assert scores.shape == (2, 3, 64, 96)
    torch.nn.functional.cross_entropy(scores, labels).backward()
    parameters = dict(model.named_parameters())
    assert all(param.grad is not None for param in parameters.values())
    name = "encoder.model.model.blocks.0.mlp.fc1.weight"
    before = parameters[name].clone()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not torch.equal(before, parameters[name])


@torch.no_grad()
def test_maps_of_the_encoder_are_those_of_timm() -> None:
    encoder = smp.encoders.get_encoder(ENCODER, weights=None).eval()
    images = torch.randn(1, 3, 64, 96)
    maps = encoder(images)
    assert [tuple(one.shape[2:]) for one in maps[2:]] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert torch.equal(maps[-1], encoder.model.model.forward_features(images).movedim(-1, 1))


@pytest.mark.parametrize("decoder", ["DeepLabV3", "DeepLabV3Plus", "PAN"])
def test_a_decoder_that_wants_other_strides_is_refused(decoder: str) -> None:
    with pytest.raises(SetupError, match=r"output_stride (8|16); expected 32"):
        smp.create_model(decoder, ENCODER, encoder_weights=None)
