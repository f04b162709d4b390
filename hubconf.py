"""What torch.hub finds here: `torch.hub.load(REPOSITORY, 'hiera_base_224')`."""

from hiera_dense import original

dependencies = ["torch", "timm", "huggingface_hub", "safetensors"]
globals().update({name: getattr(original, name) for name in original.FUNCTIONS})
