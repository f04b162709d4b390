"""Hubs: Hugging Face's through its mixin, torch.hub; no network needed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hiera
import huggingface_hub
import pytest
import timm
import torch
from support import peers
from support.common import ROOT, relative_error, shallow
from torch import nn

from hiera_dense import original
from hiera_dense.errors import CheckpointError
from hiera_dense.model.classifier import Classifier
from hiera_dense.model.hiera import Hiera
from hiera_dense.model.mae import MaskedAutoencoder
from hiera_dense.weights.catalog import WEIGHTS

SMALL_MAE = dict(decoder_dim=32, decoder_depth=1, decoder_num_heads=4)
MODELS = {
    "trunk": lambda: Hiera(shallow("sam2_tiny"), in_channels=5, window_spec=(8, 4, 6, 3)),
    "name": lambda: Hiera("tiny", pos_embed=dict(resize="tile")),
    "classifier": lambda: Classifier(shallow("base_16x224"), num_classes=7),
    "mae": lambda: MaskedAutoencoder(shallow("small_abswin"), **SMALL_MAE),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_comes_back(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    model.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    again = type(model).from_pretrained(tmp_path)
    assert not again.training
    assert again.arch == model.arch
    for key, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor)


def test_arguments_can_be_changed_when_loading(tmp_path: Path) -> None:
    Classifier(shallow("tiny"), num_classes=7).save_pretrained(tmp_path)
    changed = Classifier.from_pretrained(tmp_path, num_classes=3, drop_path_rate=0.2)
    assert changed.head.projection.out_features == 3
    assert changed.blocks[-1].drop_path.drop_prob == 0.2
    assert Hiera.from_pretrained(str(tmp_path)).arch == changed.arch


def test_loading_is_strict(tmp_path: Path) -> None:
    Hiera(shallow("tiny")).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["arch"]["stages"] = [1, 2, 4, 2]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="not the weights of this trunk; missing: blocks"):
        Hiera.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"nothing says which arch it is; expected arch="):
        Hiera.from_pretrained(tmp_path)
    with pytest.raises(TypeError, match="strict"):
        Hiera.from_pretrained(tmp_path, arch=config["arch"], strict=False)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json is not JSON: "):
        Hiera.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        Hiera.from_pretrained(tmp_path / "nowhere")


def test_published_weights_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = peers.fair(peers.IMAGES["tiny"])
    file = peers.save_bare(peer, tmp_path)
    monkeypatch.setattr("hiera_dense.weights.download.hf_hub_download", lambda *_, **__: str(file))
    for said in (
        "hiera_tiny_224.mae_in1k_ft_in1k",
        "facebook/hiera_tiny_224.mae_in1k_ft_in1k",
        "timm/hiera_tiny_224.mae_in1k_ft_in1k",
    ):
        model = Classifier.from_pretrained(said, revision="main")
        assert torch.equal(model.head.projection.weight, peer.head.projection.weight)
        assert model.licence == "CC BY-NC 4.0"
    with pytest.raises(CheckpointError, match="permissive_only is set"):
        Classifier.from_pretrained(said, permissive_only=True)


def test_a_licence_goes_with_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = peers.save_bare(peers.fair(peers.IMAGES["tiny"]), tmp_path)
    monkeypatch.setattr("hiera_dense.weights.download.hf_hub_download", lambda *_, **__: str(file))
    Hiera.from_pretrained("hiera_tiny_224.mae_in1k").save_pretrained(tmp_path / "saved")
    assert Hiera.from_pretrained(tmp_path / "saved").licence == "CC BY-NC 4.0"
    with pytest.raises(CheckpointError, match=r"licence CC BY-NC 4\.0, and permissive_only"):
        Hiera.from_pretrained(tmp_path / "saved", permissive_only=True)


def test_the_classes_of_published_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = peers.of_timm("hiera_small_abswin_256", num_classes=11821)
    file = peers.save_bare(peer, tmp_path)
    monkeypatch.setattr("hiera_dense.weights.download.hf_hub_download", lambda *_, **__: str(file))
    model = Classifier.from_pretrained("hiera_small_abswin_256.sbb2_e200_in12k")
    assert torch.equal(model.head.projection.weight, peer.head.fc.weight)
    for tag, weight in WEIGHTS.items():
        if f"timm/{tag}" == weight.hub:
            assert timm.get_pretrained_cfg(tag).num_classes == weight.classes


def test_classes_of_the_original_come_from_its_repositories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hiera_dense.weights.download.hf_hub_download", lambda *_, **__: str(file))
    images = torch.randn(1, 3, 224, 224)
    peer = peers.fair(peers.IMAGES["tiny"])
    file = peers.save_bare(peer, tmp_path)
    classifier = original.Hiera.from_pretrained("facebook/hiera_tiny_224.mae_in1k_ft_in1k")
    with torch.no_grad():
        assert relative_error(classifier(images), peer(images)) < 1e-4
    classifier.save_pretrained(tmp_path / "saved")
    again = original.Hiera.from_pretrained(tmp_path / "saved")
    assert torch.equal(again(images), classifier(images))
    pretrained = peers.fair(peers.MAE["tiny"])
    file = peers.save_bare(pretrained, tmp_path)
    mae = original.MaskedAutoencoderHiera.from_pretrained("facebook/hiera_tiny_224.mae_in1k")
    assert torch.equal(mae.decoder_pos_embed, pretrained.decoder_pos_embed)


def test_a_repository_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Hiera(shallow("tiny"))
    model.save_pretrained(tmp_path)
    asked: list[tuple[Any, ...]] = []

    def download(repo_id: str, filename: str, **options: Any) -> str:
        asked.append((repo_id, filename, options.get("revision")))
        return str(tmp_path / filename)

    monkeypatch.setattr("hiera_dense.weights.download.hf_hub_download", download)
    again = Hiera.from_pretrained("someone/their-hiera", revision="v1")
    assert torch.equal(again.pos_embed, model.pos_embed)
    assert asked == [
        ("someone/their-hiera", name, "v1") for name in ("config.json", "model.safetensors")
    ]


def test_pushing_uploads_what_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, Any] = {}

    class Api:
        def __init__(self, **_: Any) -> None: ...

        def create_repo(self, repo_id: str, **_: Any) -> Any:
            return type("Url", (), dict(repo_id=repo_id))

        def upload_folder(self, folder_path: Path, **kwargs: Any) -> None:
            sent.update(kwargs, files={p.name for p in Path(folder_path).iterdir()})

    monkeypatch.setattr(huggingface_hub.hub_mixin, "HfApi", Api)
    Hiera(shallow("tiny")).push_to_hub("someone/their-hiera")
    assert sent["repo_id"] == "someone/their-hiera"
    assert sent["files"] == {"config.json", "model.safetensors", "README.md"}


FUNCTIONS = [
    n for n in dir(hiera) if n.startswith(("hiera_", "mae_")) and callable(getattr(hiera, n))
]


def test_functions_are_the_originals() -> None:
    assert set(FUNCTIONS) == set(original.FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_have_the_names_and_shapes_of_the_original(name: str) -> None:
    linspace = torch.linspace
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        # The original reads drop path rates from one, which the meta device has not.
        patch.setattr(torch, "linspace", lambda *args: linspace(*args, device="cpu"))
        ours, theirs = (getattr(package, name)() for package in (original, hiera))
    shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]


def run(package: Any, state: dict[str, torch.Tensor] | None) -> tuple[Any, ...]:
    """Code that was written for the original."""
    model = package.hiera_tiny_224(num_classes=5, input_size=(64, 96), drop_path_rate=0.1)
    mae = package.mae_hiera_tiny_224(input_size=(64, 96), decoder_embed_dim=64, decoder_depth=2)
    if state is not None:
        model.load_state_dict({k[2:]: v for k, v in state.items() if k[0] == "c"})
        mae.load_state_dict({k[2:]: v for k, v in state.items() if k[0] == "m"})
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    model.eval()
    probabilities, maps = model(images, return_intermediates=True)
    torch.manual_seed(0)
    mask = model.get_random_mask(images, 0.5)
    tokens = model(images, mask=mask)
    loss, pred, label, seen = mae(images, mask_ratio=0.6, mask=mask)
    states = {f"c.{k}": v for k, v in model.state_dict().items()}
    states |= {f"m.{k}": v for k, v in mae.state_dict().items()}
    return states, probabilities, *maps, tokens, loss, pred, label, seen.float()


@torch.no_grad()
def test_code_written_for_the_original_gives_the_same() -> None:
    state, *theirs = run(hiera, None)
    _, *ours = run(original, state)
    assert ours[0].sum(1).tolist() == pytest.approx([1, 1])
    assert max(relative_error(a, b) for a, b in zip(ours, theirs, strict=True)) < 1e-4


@pytest.mark.parametrize(
    ("name", "checkpoint"),
    [
        ("hiera_tiny_224", "mae_in1k_ft_in1k"),
        ("hiera_tiny_224", "mae_in1k"),
        ("mae_hiera_tiny_224", "mae_in1k"),
    ],
)
def test_pretrained_functions(
    name: str, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the network: what would have been downloaded lies in a file."""
    peer = peers.fair((peers.MAE if checkpoint == "mae_in1k" else peers.IMAGES)["tiny"])
    file = peers.save_fair(peer, tmp_path)
    asked: list[str] = []

    def download(repository: str, *_: Any, **__: Any) -> str:
        asked.append(repository)
        return str(file)

    monkeypatch.setattr("hiera_dense.weights.download.hf_hub_download", download)
    model = getattr(original, name)(pretrained=True, checkpoint=checkpoint, input_size=(256, 256))
    assert asked == [f"facebook/hiera_tiny_224.{checkpoint}"]
    theirs = peer.state_dict()
    shared = set(theirs) & set(model.state_dict())
    assert len(shared) >= 153
    assert all(torch.equal(model.state_dict()[key], theirs[key]) for key in shared)
    with pytest.raises(ValueError, match="checkpoint 'mae_k400'; expected mae_in1k"):
        getattr(original, name)(checkpoint="mae_k400")


def test_what_is_not_supported_is_named() -> None:
    with pytest.raises(ValueError, match="strict=False; expected True"):
        original.hiera_tiny_224(strict=False)
    with pytest.raises(TypeError, match="mask_unit_attn"):
        original.hiera_tiny_224(mask_unit_attn=(True, True, True, False))


@pytest.mark.slow
def test_torch_hub() -> None:
    code = (
        "import sys, torch; model = torch.hub.load('.', 'hiera_tiny_224', source='local', "
        "pretrained=False, num_classes=3); print(tuple(model(torch.zeros(1, 3, 64, 64)).shape)); "
        "assert 'mmengine' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.splitlines()[-1] == "(1, 3)"


def test_a_model_of_the_hub_is_a_module() -> None:
    model = original.hiera_tiny_224()
    assert isinstance(model, nn.Module)
    assert model.training
