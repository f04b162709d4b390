"""What torch.hub finds here: `torch.hub.load(REPOSITORY, 'hiera_base_224')`."""

from hiera_dense.original import *  # noqa: F403

dependencies = ["torch", "timm", "huggingface_hub", "safetensors"]
