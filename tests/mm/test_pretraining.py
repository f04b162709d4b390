"""Masked autoencoders and classifiers through our tools, on folders of one's own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import DATASETS, MODELS, init_default_scope
from PIL import Image
from support.common import ROOT, small_network
from support.training import CLASSIFIER, MAE, SHORT, run_tool, scalars

from hiera_dense.cli import evaluate
from hiera_dense.data.folders import VARIABLE
from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.mm.pictures import ReconstructionHook
from hiera_dense.mm.pretraining import HieraMAE
from hiera_dense.weights.load import load_pretrained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nested folder of many formats, with two files that cannot be read."""
    root = tmp_path_factory.mktemp("images")
    (root / "deeper" / "still").mkdir(parents=True)
    places = ("a.png", "b.jpg", "deeper/c.bmp", "deeper/still/d.tiff", "e.gif", "deeper/f.webp")
    for source, place in zip(sorted((toy / "instances/train").iterdir()), places, strict=False):
        Image.open(source).save(root / place)
    Image.open(root / "a.png").convert("L").resize((300, 40)).save(root / "deeper/a.png")
    deep = np.asarray(Image.open(root / "a.png").convert("L")).astype(np.uint16) * 256
    Image.fromarray(deep).save(root / "deep.png")
    (root / "damaged.jpg").write_bytes((root / "b.jpg").read_bytes()[:300])
    (root / "text.png").write_text("no image")
    (root / "notes.txt").write_text("no image either")
    return root


@pytest.fixture(scope="module")
def pretrained(
    images: Path, small: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, str]:
    """Config, work dir and output of a pretraining."""
    work_dir = tmp_path_factory.mktemp("mae")
    config = small["mae"]
    options = ("--data", images, "--work-dir", work_dir, "--cfg-options", *SHORT)
    return config, work_dir, run_tool("train.py", config, *options)


def test_pretraining_on_any_folder(pretrained: tuple[Path, Path, str], images: Path) -> None:
    _, work_dir, out = pretrained
    logged = scalars(work_dir)
    assert [s["iter"] for s in logged if "loss" in s] == [1, 2]
    assert logged[-1]["mse"] > 0
    assert list(work_dir.glob("best_mse_iter_2.pth"))
    assert f"unreadable images, to be skipped: 2, first {images / 'damaged.jpg'}" in out
    assert f"skipped, cannot be read: {images / 'text.png'}" in out


def test_each_validation_has_a_picture(pretrained: tuple[Path, Path, str]) -> None:
    _, work_dir, _ = pretrained
    (path,) = work_dir.glob("*/vis_data/vis_image/reconstruction_*.png")
    with Image.open(path) as picture:
        assert picture.size == (3 * 168, 168)  # one image is held out


def test_its_checkpoint_fills_a_backbone(pretrained: tuple[Path, Path, str]) -> None:
    _, work_dir, _ = pretrained
    arch = small_network(24, (1, 2, 3, 2))
    checkpoint = str(work_dir / "iter_2.pth")
    init_cfg = dict(type="Pretrained", checkpoint=checkpoint)
    backbone = HieraBackbone(arch, window_spec=(8, 4, 6, 3), init_cfg=init_cfg)
    backbone.init_weights()
    state = torch.load(checkpoint, weights_only=False)["state_dict"]
    for name, tensor in backbone.trunk.state_dict().items():
        assert torch.equal(tensor, state[f"network.{name}"])
    assert load_pretrained(backbone, checkpoint).content.layout == "hiera_dense MAE"


def test_it_goes_on_and_is_evaluated(
    pretrained: tuple[Path, Path, str], images: Path, tmp_path: Path
) -> None:
    config, work_dir, _ = pretrained
    longer = [
        "train_cfg.max_iters=3",
        "train_cfg.val_interval=3",
        "default_hooks.logger.interval=1",
    ]
    run_tool("train.py", config, "--work-dir", work_dir, "--resume", "--cfg-options", *longer)
    assert scalars(work_dir)[-2]["iter"] == 3
    out = run_tool("test.py", config, work_dir / "iter_3.pth", "--work-dir", tmp_path)
    assert f"data: {images}" in out
    expected = scalars(work_dir)[-1]["mse"]
    assert f"mse: {expected:.4f}" in out


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.mark.parametrize("way", ["dist_train.sh", "torchrun"])
def test_two_processes_pretrain(
    way: str, pretrained: tuple[Path, Path, str], images: Path, tmp_path: Path
) -> None:
    command = [ROOT / "tools/dist_train.sh", pretrained[0], "2"]
    if way == "torchrun":
        command = [*TORCHRUN, "-m", "hiera_dense", "train", pretrained[0]]
    run = subprocess.run(
        [*command, "--data", images, "--work-dir", tmp_path, "--cfg-options", *SHORT],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert scalars(tmp_path)[-1]["mse"] > 0
    assert len(list(tmp_path.glob("*/vis_data/vis_image/*.png"))) == 1


def test_a_classifier_trains_without_validation(
    small: dict[str, Path], toy: Path, tmp_path: Path
) -> None:
    none = [f"val_{part}=None" for part in ("dataloader", "evaluator", "cfg")]
    options = ["--work-dir", str(tmp_path / "run"), "--cfg-options", *SHORT, *none]
    options.append("default_hooks.checkpoint.save_best=None")
    run_tool("train.py", small["classifier"], *options, data=toy / "classes")
    assert (tmp_path / "run/iter_2.pth").exists()


def test_classification_of_ones_own_folders(
    small: dict[str, Path], toy: Path, tmp_path: Path
) -> None:
    config = small["classifier"]
    options = ("--data", toy / "classes", "--work-dir", tmp_path / "run", "--cfg-options", *SHORT)
    out = run_tool("train.py", config, *options)
    assert "2 classes: even, odd" in out
    assert 0 <= scalars(tmp_path / "run")[-1]["top1"] <= 100
    out = run_tool("test.py", config, tmp_path / "run/iter_2.pth", "--work-dir", tmp_path / "test")
    assert "top1: " in out


def test_pictures_of_predictions_are_for_dense_models(
    toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(toy / "classes"))
    monkeypatch.setattr("sys.argv", ["test.py", str(CLASSIFIER), "none.pth", "--show-dir", "x"])
    with pytest.raises(SystemExit):
        evaluate.main()
    assert "are for detectors and segmenters" in capsys.readouterr().err


@pytest.mark.parametrize("config", [MAE, CLASSIFIER], ids=["mae", "classifier"])
def test_a_model_of_a_config_trains_on_its_data(
    config: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the preprocessor, and with images normalised as those of detectors are."""
    monkeypatch.setenv(VARIABLE, str(toy / "classes"))
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch = model.data_preprocessor(default_collate([dataset[i] for i in range(2)]), True)
    assert batch["inputs"].shape == (2, 3, 160, 160)
    assert batch["inputs"].abs().max() < 3
    loss = model(**batch, mode="loss")["loss"]
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_masks_are_the_same_in_each_validation() -> None:
    arch = small_network(8, (1, 1, 1, 1))
    model = HieraMAE(arch, decoder_dim=16, decoder_depth=1, decoder_num_heads=1).eval()
    images = torch.randn(2, 3, 64, 96)
    first, second = (model(images, mode="predict") for _ in "ab")
    assert [s["measures"] for s in first] == [s["measures"] for s in second]
    assert torch.equal(first[0]["seen"], second[0]["seen"])
    errors = [sample["measures"]["mse"] for sample in first]
    generator = torch.Generator().manual_seed(0)
    result = model.network(images, generator=generator)
    assert sum(errors) / 2 == pytest.approx(result.loss.item(), rel=1e-5)
    given = model(images, mode="loss", mask=result.mask)["loss"]
    assert torch.equal(given, result.loss)
    assert torch.equal(model(images, mask=result.mask).pred, result.pred)


def test_pictures_of_clips_and_of_other_channels() -> None:
    class Visualizer:
        def add_image(self, name: str, image: np.ndarray, step: int) -> None:
            self.image, self.shape = image, image.shape

    class Runner:
        iter = 5
        visualizer = Visualizer()
        model = torch.nn.Module()

    pixels = torch.randint(0, 256, (3, 64, 96))
    mean, std = torch.tensor([[90.0, 100.0, 110.0], [50.0, 60.0, 70.0]])[..., None, None]
    Runner.model.data_preprocessor = ImgDataPreprocessor(mean.flatten(), std.flatten())
    columns = {"image": (pixels - mean) / std, "seen": -mean / std, "predicted": (9 - mean) / std}
    outputs = [{name: column.expand(3, 64, 96) for name, column in columns.items()}]
    ReconstructionHook().after_val_iter(Runner, 0, None, outputs)
    parts = [Runner.visualizer.image[4:68, x : x + 96] for x in (4, 108, 212)]
    assert np.array_equal(parts[0], pixels.permute(1, 2, 0))
    assert (parts[1] == 0).all()
    assert (parts[2] == 9).all()
    Runner.model.data_preprocessor = torch.nn.Identity()
    for shape in ((3, 4, 64, 96), (1, 64, 96), (2, 64, 96), (5, 64, 96)):
        outputs = [{k: torch.rand(shape) for k in ("image", "seen", "predicted")}] * 9
        ReconstructionHook(images=2).after_val_iter(Runner, 0, None, outputs)
        assert Runner.visualizer.shape == (2 * 72, 3 * 104, 3)
