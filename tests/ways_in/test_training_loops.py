"""The backbone in the training loops of others: Lightning, MMPretrain."""

from pathlib import Path

import lightning
import pytest
import torch
from mmengine.registry import init_default_scope
from support.common import small_network
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hiera_dense import HieraBackbone, load_pretrained

SMALL = small_network(stages=(1, 1, 2, 1))


class Segmenter(lightning.LightningModule):
    """The backbone, and a linear layer on its map of stride 4."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = HieraBackbone(SMALL, out_indices=(0,))
        self.head = nn.Conv2d(8, 3, 1)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        (features,) = self.backbone(images)
        return nn.functional.cross_entropy(self.head(features), labels[:, ::4, ::4])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def test_lightning_trains_and_its_checkpoint_loads_here(tmp_path: Path) -> None:
    model = Segmenter()
    before = model.backbone.trunk.blocks[0].mlp.fc1.weight.clone()
    data = TensorDataset(torch.randn(4, 3, 64, 64), torch.randint(0, 3, (4, 64, 64)))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(data, batch_size=2))
    after = model.backbone.trunk.blocks[0].mlp.fc1.weight
    assert not torch.equal(before, after)
    trainer.save_checkpoint(tmp_path / "lightning.ckpt")
    again = HieraBackbone(SMALL)
    load_pretrained(again, tmp_path / "lightning.ckpt")
    assert torch.equal(again.trunk.blocks[0].mlp.fc1.weight, after)


def test_mmpretrain_trains_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no requirement of the tests: it cannot be imported beside transformers 5."""
    dependency = pytest.importorskip("mmpretrain.utils.dependency", reason="needs onedl-mmpretrain")
    monkeypatch.setattr(dependency, "WITH_MULTIMODAL", False)  # as without transformers
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample

    init_default_scope("mmpretrain")
    model = MODELS.build(
        dict(
            type="ImageClassifier",
            backbone=dict(type="hiera_dense.HieraBackbone", arch=SMALL, out_indices=(3,)),
            neck=dict(type="GlobalAveragePooling"),
            head=dict(type="LinearClsHead", num_classes=3, in_channels=64),
        )
    )
    samples = [DataSample().set_gt_label(label) for label in (1, 2)]
    sum(model.loss(torch.randn(2, 3, 64, 64), samples).values()).backward()
    grads = [param.grad for param in model.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)
