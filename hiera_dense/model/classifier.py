"""A classifier of images or clips: the trunk, the mean of its tokens, a norm, a linear layer.

"Hiera" (Ryali et al., ICML 2023; facebookresearch/hiera, `hiera.py`). Needs no mmengine. Parameter
names are the original's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from hiera_dense.model.arch import WindowSpec
from hiera_dense.model.checks import require_int, require_share
from hiera_dense.model.graphs import CompileOptions
from hiera_dense.model.hiera import Hiera, WithCp
from hiera_dense.model.layers import LayerNorm

_CLASSES = {2: 1000, 3: 400}  # of ImageNet-1K and of Kinetics-400


class Head(nn.Module):
    """From a feature to the scores of the classes.

    Args:
        dim, num_classes: Channels of the feature, classes.
        dropout: Share of the feature that is zeroed in training.
        init_scale: Factor on the initial weights and biases.
        softmax_in_eval: Give probabilities in eval mode, as facebookresearch/hiera does.
    """

    def __init__(
        self, dim: int, num_classes: int, dropout: float, init_scale: float, softmax_in_eval: bool
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(dim, num_classes)
        self.softmax_in_eval = softmax_in_eval
        nn.init.normal_(self.projection.weight, std=0.02 * init_scale)
        nn.init.constant_(self.projection.bias, 0.02 * init_scale)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C) to (B, classes)."""
        scores: Tensor = self.projection(self.dropout(x))
        return scores.softmax(-1) if self.softmax_in_eval and not self.training else scores


class Classifier(Hiera):
    """Scores of classes.

    Args:
        arch, in_channels, window_spec, global_att_blocks, pos_embed: As for `Hiera`.
        drop_path_rate, with_cp, compile: As for `Hiera`.
        num_classes: Classes. None: those of the published weights, 1000, or 400 of clips.
        head_dropout: Share of the feature before the last layer that is zeroed in training.
        head_init_scale: Factor on the initial weights of the last layer.
        softmax_in_eval: Give probabilities in eval mode, as facebookresearch/hiera does, and not
            scores.

    Raises:
        SetupError: An unknown name or field, or a value out of range.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any],
        num_classes: int | None = None,
        in_channels: int = 3,
        window_spec: WindowSpec | None = None,
        global_att_blocks: Sequence[int] | None = None,
        pos_embed: Mapping[str, Any] | None = None,
        drop_path_rate: float = 0.0,
        with_cp: WithCp = False,
        head_dropout: float = 0.0,
        head_init_scale: float = 0.001,
        softmax_in_eval: bool = False,
        compile: CompileOptions = False,
    ) -> None:
        super().__init__(
            arch,
            in_channels,
            window_spec,
            global_att_blocks,
            pos_embed,
            drop_path_rate,
            with_cp,
            compile=compile,
        )
        classes = _CLASSES[len(self.arch.mask_unit)] if num_classes is None else num_classes
        require_int("num_classes", classes, 1)
        require_share("head_dropout", head_dropout)
        dim = self.arch.dims[-1]
        self.norm = LayerNorm(dim)
        nn.init.constant_(self.norm.bias, 0.02)
        self.head = Head(dim, classes, head_dropout, head_init_scale, softmax_in_eval)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, return_intermediates: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Compute scores.

        Args:
            x: Images, shape (B, C_in, H, W), or clips, shape (B, C_in, T, H, W), normalised.
            mask: As for the trunk. The result is then not of classes, but the tokens that are
                visible in the last stage, (B, N, C), as in the original.
            return_intermediates: Also return the features of every stage.

        Returns:
            Scores, shape (B, classes). With `return_intermediates`: (scores, [one for each stage]).
        """
        last, stages = cast(
            "tuple[Tensor, list[Tensor]]", super().forward(x, mask, return_intermediates=True)
        )
        tokens = last.flatten(1, -2)
        result = tokens if mask is not None else self.head(self.norm(tokens.mean(1)))
        return (result, stages) if return_intermediates else result
