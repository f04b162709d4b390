"""The registry scope `hiera_dense`, a child of mmengine's root registries.

A config of any OpenMMLab project reaches what is registered here by the scope prefix alone,
`type='hiera_dense.HieraBackbone'`: mmengine imports this module by its name and then `locations`.
"""

from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import Registry

MODELS = Registry(
    "model",
    parent=ROOT_MODELS,
    scope="hiera_dense",
    locations=["hiera_dense.backbone", "hiera_dense.norms"],
)
