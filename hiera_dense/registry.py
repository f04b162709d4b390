"""The registry scope `hiera_dense`, children of mmengine's root registries.

A config of any OpenMMLab project reaches what is registered here by the scope prefix alone,
`type='hiera_dense.HieraBackbone'`: mmengine imports this module by its name and then the locations.

Modules import it before mmengine: it says what to do where mmengine is missing or too old.
"""

OLDEST_MMENGINE = "0.10"
REMEDY = f"hiera_dense works with mmengine {OLDEST_MMENGINE} or newer; see docs/install.md"

try:
    from mmengine import __version__ as MMENGINE
    from mmengine import registry as root
    from mmengine.utils import digit_version
except ModuleNotFoundError as error:
    if error.name != "mmengine":
        raise
    raise ModuleNotFoundError(f"no mmengine; {REMEDY}", name="mmengine") from None
if digit_version(MMENGINE) < digit_version(OLDEST_MMENGINE):
    raise ImportError(f"mmengine {MMENGINE} is too old; {REMEDY}", name="mmengine")


def _child(parent: root.Registry, *modules: str) -> root.Registry:
    locations = [f"hiera_dense.mm.{module}" for module in modules]
    return root.Registry(parent.name, parent=parent, scope="hiera_dense", locations=locations)


MODELS = _child(
    root.MODELS,
    *("backbone", "pretraining", "classification", "pyramid", "float32", "sliding", "tta"),
)
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, "layer_decay")
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS, "init_cfg")
HOOKS = _child(root.HOOKS, "checkpoint_hook", "early_stopping", "finite", "pictures")
DATASETS = _child(root.DATASETS, "datasets")
METRICS = _child(root.METRICS, "metrics")
TRANSFORMS = _child(root.TRANSFORMS, "transforms")
FUNCTIONS = _child(root.FUNCTIONS, "fsdp")
STRATEGIES = _child(root.STRATEGIES, "fsdp")
