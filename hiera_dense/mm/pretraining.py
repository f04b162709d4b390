"""Pretraining without labels in mmengine's Runner: `type='hiera_dense.HieraMAE'`."""

from collections.abc import Mapping
from typing import Any

from hiera_dense.registry import MODELS  # isort: split

import torch
from mmengine.model import BaseModel
from torch import Tensor

from hiera_dense.errors import SetupError
from hiera_dense.mm.init_cfg import last_and_ours
from hiera_dense.model.checks import require_share
from hiera_dense.model.mae import MaskedAutoencoder


@MODELS.register_module()
class HieraMAE(BaseModel):
    """A masked autoencoder that mmengine trains; its checkpoints fill a `HieraBackbone`.

    Args:
        arch: A name in `variants.ARCHS`, or the fields of an `arch.Arch`.
        mask_ratio: Share of the mask units that is hidden. None: 0.6 for images, 0.9 for clips.
        data_preprocessor: mmengine's config of what normalises a batch.
        init_cfg: mmengine's initialisation config. `type='Pretrained'` means
            `hiera_dense.Pretrained`.
        **network: As for `hiera_dense.MaskedAutoencoder`.

    Attributes:
        measures: Names of what is measured of an image.

    Raises:
        SetupError: An unknown name or field, or values that do not fit each other.
    """

    measures = ("mse",)

    def __init__(
        self,
        arch: str | Mapping[str, Any],
        mask_ratio: float | None = None,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
        **network: Any,
    ) -> None:
        super().__init__(data_preprocessor, last_and_ours(init_cfg))
        self.network = MaskedAutoencoder(arch, **network)
        if mask_ratio in (0, 1):
            raise SetupError(f"mask_ratio {mask_ratio}; expected a number between 0 and 1")
        if mask_ratio is not None:
            require_share("mask_ratio", mask_ratio)
        self.mask_ratio = mask_ratio

    def forward(
        self,
        inputs: Tensor,
        data_samples: None = None,
        mode: str = "tensor",
        mask: Tensor | None = None,
    ) -> Any:
        """Reconstruct.

        Args:
            inputs: Images, shape (B, C_in, H, W), or clips, shape (B, C_in, T, H, W), normalised.
            data_samples: None; mmengine's signature.
            mode: mmengine's: `loss`, `predict` or `tensor`.
            mask: Bool, shape (B, units), True = visible; None: drawn, in each validation the same.

        Returns:
            `loss`: dict(loss=...). `tensor`: an `mae.Reconstruction`. `predict`: for each
            image a dict with its `measures` (`mse`), and pictures of its `image`, of what was
            `seen` and `predicted`, shape (C_in, [T / 2,] H, W).
        """
        if mode != "predict":
            result = self.network(inputs, self.mask_ratio, mask)
            return dict(loss=result.loss) if mode == "loss" else result
        generator = torch.Generator(inputs.device).manual_seed(0)
        result = self.network(inputs, self.mask_ratio, mask, generator)
        errors = (result.pred - result.label).square().reshape(len(inputs), -1).mean(1)
        seen, predicted = self.network.reconstruct(inputs, result.pred, result.mask)
        step = self.network.arch.patch_stride[0]
        images = inputs[:, :, ::step] if inputs.ndim == 5 else inputs
        rows = zip(errors.tolist(), images, seen, predicted, strict=True)
        return [
            dict(measures=dict(mse=error), image=image, seen=parts, predicted=whole)
            for error, image, parts, whole in rows
        ]
