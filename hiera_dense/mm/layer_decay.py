"""Layer-wise learning-rate decay, after BEiT and MAE: the deeper a layer, the larger its rate."""

from typing import Any

from hiera_dense.registry import OPTIM_WRAPPER_CONSTRUCTORS  # isort: split

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import Tensor, nn

from hiera_dense.errors import SetupError


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Gives a layer the learning rate `lr * layer_decay_rate ** (layers above it)`.

    Depths come from the model: any module in it with `get_layer_depth(param_name, prefix)`, as the
    backbones of MMPretrain have it, tells the depth of its parameters; other parameters get the
    full rate. No weight decay on biases, norms and position tables.

        optim_wrapper = dict(
            constructor='hiera_dense.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.8), ...)

    Args:
        optim_wrapper_cfg: The config of the optimizer wrapper, with `optimizer`, in which `lr` and
            `weight_decay` are set.
        paramwise_cfg: `layer_decay_rate`, above 0 and at most 1, and nothing else.

    Raises:
        SetupError: A setting is missing, unknown or out of range; or, when called, no module of the
            model has `get_layer_depth`.
    """

    def _validate_cfg(self) -> None:
        given = dict(self.paramwise_cfg)
        rate = given.pop("layer_decay_rate", None)
        if given or not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise SetupError(
                f"paramwise_cfg {dict(self.paramwise_cfg)}; expected "
                "dict(layer_decay_rate=a number above 0 and at most 1)"
            )
        if self.base_lr is None or self.base_wd is None:
            raise SetupError(
                f"layer decay with lr={self.base_lr} and weight_decay={self.base_wd}; expected "
                "both in optim_wrapper.optimizer"
            )
        self.rate = float(rate)

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        prefix: str = "",
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Append one group for each pair of learning rate and weight decay that occurs.

        Args:
            params: The groups so far.
            module: The model; its trainable parameters end in one group each.
            prefix: The name of the model, with no parameter of it told a depth.
            is_dcn_module: Unused; mmengine's signature.
        """
        backbones = _modules_with_depths(module)
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for name, param in module.named_parameters():
            if not param.requires_grad:
                continue
            inside = [start for start in backbones if name.startswith(start)]
            scale = 1.0
            if inside:
                innermost = max(inside, key=len)
                depth, layers = backbones[innermost].get_layer_depth(name, innermost)
                scale = self.rate ** (layers - 1 - depth)
            decay = self.base_wd if _decays(name, param) else 0.0
            group = groups.setdefault(
                (scale, decay),
                dict(params=[], lr=self.base_lr * scale, lr_scale=scale, weight_decay=decay),
            )
            group["params"].append(param)
        params.extend(groups[key] for key in sorted(groups))
        for group in params:
            print_log(
                f"lr {group['lr']:.3g}, weight decay {group['weight_decay']:.3g}: "
                f"{len(group['params'])} parameters",
                logger="current",
            )


def _modules_with_depths(model: nn.Module) -> dict[str, Any]:
    """The modules that know the depths of their parameters, by the start of these names."""
    found = {
        f"{name}." if name else "": module
        for name, module in model.named_modules()
        if hasattr(module, "get_layer_depth")
    }
    if not found:
        raise SetupError(
            f"layer decay, and no module of {type(model).__name__} has get_layer_depth(param_name, "
            "prefix); expected a backbone that has, such as hiera_dense.HieraBackbone"
        )
    return found


def _decays(name: str, param: Tensor) -> bool:
    """Whether weight decay applies: to matrices and kernels that are no position table."""
    tables = ("pos_embed", "rel_pos", "position_bias")
    return param.ndim > 1 and not any(part in name for part in tables)
