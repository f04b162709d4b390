"""What installing the package asks for."""

from importlib.metadata import requires

import pytest


def test_mmengine_and_the_hosts_are_never_required() -> None:
    required = [r for r in requires("hiera-dense") if "extra ==" not in r]
    names = sorted(r.split(">")[0].replace("_", "-") for r in required)
    assert names == ["filelock", "huggingface-hub", "safetensors", "timm", "torch"]


@pytest.mark.parametrize(("extra", "prefix"), [("onedl", "onedl-mm"), ("openmmlab", "mm")])
def test_an_extra_names_one_flavour(extra: str, prefix: str) -> None:
    named = [r.split(";")[0].strip() for r in requires("hiera-dense") if f'"{extra}"' in r]
    hosts = [r for r in named if "mm" in r and not r.startswith("timm")]
    assert len(hosts) == 4
    assert all(r.startswith(prefix) and "==" in r for r in hosts)


@pytest.mark.parametrize("extra", ["app", "export", "video"])
def test_an_extra_of_one_purpose_brings_no_host(extra: str) -> None:
    named = [r for r in requires("hiera-dense") if f'"{extra}"' in r]
    assert named
    assert not [r for r in named if "mm" in r]
