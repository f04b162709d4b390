"""The predictor beside the hosts' own inferencers, and what it takes and refuses."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config
from mmseg.apis import MMSegInferencer
from PIL import Image
from support.saved import CLASSES, save

from hiera_dense import Predictor, Result
from hiera_dense.errors import CheckpointError, DataError, SetupError


@pytest.fixture(scope="module")
def predictors(checkpoints: dict[str, Path]) -> dict[str, Predictor]:
    return {host: Predictor(path, score=0.0) for host, path in checkpoints.items()}


@pytest.fixture(scope="module")
def images(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three of one size, and one of another, turned by its EXIF tag."""
    found = sorted((toy / "instances" / "val").iterdir())
    turned = tmp_path_factory.mktemp("images") / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(found[0]).crop((0, 0, 96, 60)).convert("RGB").save(turned, exif=exif)
    return [*found, turned]


def same(a: Result, b: Result) -> None:
    assert a.size == b.size
    for name in ("boxes", "scores", "labels", "masks", "segmentation"):
        ours, theirs = getattr(a, name), getattr(b, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, err_msg=name)


def test_a_detector_finds_what_mmdets_inferencer_finds(
    predictors: dict[str, Predictor],
    checkpoints: dict[str, Path],
    configs: dict[str, Config],
    images: list[Path],
) -> None:
    theirs = DetInferencer(configs["mmdet"].copy(), str(checkpoints["mmdet"]), device="cpu")
    for image in images:
        ours = predictors["mmdet"](image)
        found = theirs(str(image), return_datasamples=True, no_save_vis=True)["predictions"][0]
        assert len(ours) == len(found.pred_instances) > 10
        expected = found.pred_instances.cpu().numpy()
        np.testing.assert_array_equal(ours.boxes, expected.bboxes)
        np.testing.assert_array_equal(ours.scores, expected.scores)
        np.testing.assert_array_equal(ours.labels, expected.labels)
        np.testing.assert_array_equal(ours.masks, expected.masks)
        assert ours.size == found.ori_shape
    assert ours.size == (96, 60)  # upright
    assert ours.names == [CLASSES["mmdet"][label] for label in ours.labels]


def test_a_segmenter_finds_what_mmsegs_inferencer_finds(
    predictors: dict[str, Predictor],
    checkpoints: dict[str, Path],
    configs: dict[str, Config],
    images: list[Path],
) -> None:
    theirs = MMSegInferencer(configs["mmseg"].copy(), str(checkpoints["mmseg"]), device="cpu")
    for image in images:
        ours = predictors["mmseg"](image)
        np.testing.assert_array_equal(ours.segmentation, theirs(str(image))["predictions"])
    assert len(ours.shares) > 1
    assert sum(ours.shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("host", ["mmdet", "mmseg"])
def test_kinds_of_images_give_the_same(
    predictors: dict[str, Predictor], images: list[Path], host: str
) -> None:
    predictor, path = predictors[host], images[0]
    expected = predictor(path)
    opened = Image.open(path).convert("RGB")
    array = np.asarray(opened)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    for image in (str(path), opened, array, tensor, tensor / 255):
        same(predictor(image), expected)
    assert expected.image is not None
    np.testing.assert_array_equal(expected.image, array)  # RGB
    assert expected.path == str(path)
    with pytest.raises(AssertionError):  # the order of channels matters
        same(predictor(array[..., ::-1]), expected)


@pytest.mark.parametrize("host", ["mmdet", "mmseg"])
def test_batches_give_what_single_images_give(
    checkpoints: dict[str, Path],
    predictors: dict[str, Predictor],
    images: list[Path],
    host: str,
) -> None:
    together = Predictor(checkpoints[host], score=0.0, batch=4)(images)
    for result, image in zip(together, images, strict=True):
        expected = predictors[host](image)
        assert result.path == str(image)
        if host == "mmseg":
            assert (result.segmentation == expected.segmentation).mean() > 0.999
        else:  # in float32 sums depend on the batch
            np.testing.assert_allclose(result.scores, expected.scores, atol=1e-5)


def test_threads_share_a_predictor(predictors: dict[str, Predictor], images: list[Path]) -> None:
    expected = [predictors["mmseg"](image) for image in images]
    found: dict[int, Result] = {}

    def work(number: int) -> None:
        found[number] = predictors["mmseg"](images[number % len(images)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 12
    for number, result in found.items():
        same(result, expected[number % len(images)])


def test_score_and_classes_choose_objects(
    predictors: dict[str, Predictor], images: list[Path]
) -> None:
    predictor = predictors["mmdet"]
    every = predictor(images[0])
    least = float(np.median(every.scores))
    kept = predictor(images[0], score=least, classes=["star", "disc"])
    chosen = (every.scores >= least) & np.isin(every.labels, [0, 3])
    assert 0 < len(kept) < len(every)
    np.testing.assert_array_equal(kept.boxes, every.boxes[chosen])
    assert every.masks is not None
    np.testing.assert_array_equal(kept.masks, every.masks[chosen])
    assert set(kept.names) <= {"star", "disc"}
    with pytest.raises(SetupError, match="classes moon; expected of disc, square"):
        predictor(images[0], classes=["moon"])
    with pytest.raises(SetupError, match="score 3; expected 0 to 1"):
        predictor(images[0], score=3)


def test_a_run_a_checkpoint_and_a_config_give_the_same(
    predictors: dict[str, Predictor],
    checkpoints: dict[str, Path],
    configs: dict[str, Config],
    images: list[Path],
    tmp_path: Path,
) -> None:
    expected = predictors["mmdet"](images[0])
    config = tmp_path / "config.py"
    config.write_text(configs["mmdet"].pretty_text)
    bare = tmp_path / "bare.pth"
    torch.save(torch.load(checkpoints["mmdet"], weights_only=True)["state_dict"], bare)
    for place in ((checkpoints["mmdet"].parent,), (config, checkpoints["mmdet"]), (config, bare)):
        same(Predictor(*place, score=0.0)(images[0]), expected)


def test_patches_and_test_time_augmentation(
    checkpoints: dict[str, Path], images: list[Path], tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    tiles = [np.asarray(Image.open(image).convert("RGB")) for image in images[:3]]
    Image.fromarray(np.concatenate([np.concatenate(tiles, 1)] * 2)).save(large)
    for host, path in checkpoints.items():
        whole, patches = Predictor(path, score=0.0), Predictor(path, score=0.0, tile=128)
        a, b = whole(large), patches(large)
        assert a.size == b.size == (192, 288)
        if host == "mmdet":
            assert b.masks is not None
            assert b.masks.shape == (len(b), 192, 288)
            assert len(b) > 100 >= len(a)  # 100 of each patch at most
        else:
            assert b.segmentation is not None
            assert b.segmentation.shape == (192, 288)
            assert (a.segmentation != b.segmentation).any()
        with pytest.raises(SetupError, match="has no tta_model and tta_pipeline; expected both"):
            Predictor(path, tta=True)


def test_augmentation_finds_what_evaluate_finds(
    configs: dict[str, Config], images: list[Path], tmp_path: Path
) -> None:
    cfg = configs["mmseg"].copy()
    cfg.tta_model = dict(type="SegTTAModel")
    flips = [dict(type="RandomFlip", prob=p, direction="horizontal") for p in (0.0, 1.0)]
    views = dict(type="TestTimeAug", transforms=[flips, [dict(type="PackSegInputs")]])
    cfg.tta_pipeline = [dict(type="LoadImageFromFile"), views]
    save(cfg, tmp_path / "tta.pth")
    turned = np.asarray(Image.open(images[0]).convert("RGB"))[:, ::-1]
    predictor = Predictor(tmp_path / "tta.pth", tta=True)
    ours, flipped = predictor(images[0]).segmentation, predictor(turned).segmentation
    assert ours is not None
    assert flipped is not None
    assert (ours == flipped[:, ::-1]).mean() > 0.999  # ties aside
    plain = Predictor(tmp_path / "tta.pth")(images[0]).segmentation
    assert (ours != plain).any()


def test_other_than_three_channels(configs: dict[str, Config], tmp_path: Path) -> None:
    cfg = configs["mmseg"].copy()
    cfg.model.backbone.in_channels = 5
    cfg.model.data_preprocessor |= dict(mean=None, std=None, bgr_to_rgb=False)
    save(cfg, tmp_path / "five.pth")
    predictor = Predictor(tmp_path / "five.pth")
    assert predictor.channels == 5
    array = np.random.default_rng(0).integers(0, 255, (64, 96, 5), np.uint8)
    result = predictor(array)
    assert result.image is not None
    np.testing.assert_array_equal(result.image, array[..., :3])
    same(predictor(torch.from_numpy(array).permute(2, 0, 1)), result)
    with pytest.raises(DataError, match="3 channels; expected 5"):
        predictor(array[..., :3])


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((9, 9, 4), np.uint8), "ndarray: 4 channels; expected 3"),
        (np.zeros((9, 9, 3)), r"ndarray of shape \(9, 9, 3\) of float64; expected uint8"),
        (torch.full((3, 9, 9), 2.0), "of float32; expected uint8, or of a tensor floats from 0"),
        (np.zeros((1, 3, 9, 9), np.uint8), r"of shape \(1, 3, 9, 9\); expected a path"),
        (np.zeros((0, 9, 3), np.uint8), "expected at least one pixel"),
        (7, "int; expected a path, an image of Pillow's"),
        ("no.jpg", "no.jpg: no such file; expected an image"),
        (__file__, "not read by the model's reader of images"),
    ],
)
def test_bad_images_are_named(predictors: dict[str, Predictor], image: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        predictors["mmdet"](image)


def test_grey_images_are_taken(predictors: dict[str, Predictor]) -> None:
    grey = np.full((40, 50), 100, np.uint8)
    same(predictors["mmseg"](grey), predictors["mmseg"](np.stack([grey] * 3, 2)))


def test_settings_are_checked(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    path = checkpoints["mmseg"]
    with pytest.raises(SetupError, match="half on cpu; expected a GPU of CUDA"):
        Predictor(path, device="cpu", half=True)
    with pytest.raises(SetupError, match="device 'tpu'; expected cpu"):
        Predictor(path, device="tpu")
    with pytest.raises(SetupError, match="batch 0; expected 1 or more"):
        Predictor(path, batch=0)
    with pytest.raises(SetupError, match="config without weights; expected --weights FILE"):
        Predictor("upernet_hiera-t_1xb4-200i_mask-folder-256x256")
    with pytest.raises(SetupError, match="a folder without checkpoints; expected that of a run"):
        Predictor(tmp_path)
    with pytest.raises(SetupError, match="published weights of a backbone; expected a trained"):
        Predictor("hiera_base_224.mae_in1k")
    with pytest.raises(FileNotFoundError, match=r"nothing.pth: no such file"):
        Predictor("nothing.pth")
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="no config inside; expected a checkpoint of mm"):
        Predictor(tmp_path / "bare.pth")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (
            np.zeros((2000, 2, 3), np.uint8),
            "an image of 2000 x 2 px cannot be prepared for the mod",
        ),
        (np.zeros((0, 4, 3), np.float32), "shape .0, 4, 3.; expected at least one pixel"),
        (torch.zeros(3, 0, 4), "expected at least one pixel"),
        (torch.zeros(3, 4, 4).to_sparse(), "expected a dense tensor"),
        (torch.zeros(3, 4, 4, device="meta"), "expected a dense tensor"),
    ],
    ids=["thin", "empty-array", "empty-tensor", "sparse", "meta"],
)
def test_odd_images_are_named(predictors: dict[str, Predictor], image: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        predictors["mmseg"](image)


def test_damaged_images_of_pillow_are_named(
    predictors: dict[str, Predictor], images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(images[0].read_bytes()[:300])
    with (
        Image.open(tmp_path / "a.png") as image,
        pytest.raises(DataError, match=r"an image of Pillow's that is not read .*; expected one"),
    ):
        predictors["mmseg"](image)


def test_deep_images_keep_their_upper_bits(
    predictors: dict[str, Predictor], tmp_path: Path
) -> None:
    deep = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50) * 32
    Image.fromarray(deep).save(tmp_path / "deep.png")
    read = predictors["mmseg"].pixels(tmp_path / "deep.png")
    np.testing.assert_array_equal(read, predictors["mmseg"].pixels(Image.fromarray(deep)))
    np.testing.assert_array_equal(read[..., 0], deep >> 8)


def test_tensors_of_small_floats_are_taken(predictors: dict[str, Predictor]) -> None:
    image = torch.linspace(0, 1, 3 * 40 * 50).reshape(3, 40, 50)
    for kind in (torch.float16, torch.bfloat16):
        ours = predictors["mmseg"].pixels(image.to(kind).requires_grad_())
        assert abs(ours.astype(int) - predictors["mmseg"].pixels(image)).max() <= 1


@pytest.mark.parametrize(
    "options",
    [dict(score="0.5"), dict(score=[0.5]), dict(classes="disc"), dict(classes=3)],
    ids=str,
)
def test_wrong_kinds_of_options_are_named(
    predictors: dict[str, Predictor], options: dict[str, Any]
) -> None:
    with pytest.raises(SetupError, match=f"{next(iter(options))} .*; expected"):
        predictors["mmdet"](np.zeros((32, 32, 3), np.uint8), **options)


@pytest.mark.parametrize(
    "options",
    [dict(batch="2"), dict(batch=1.5), dict(tile=64.5), dict(score=None), dict(device="meta")],
    ids=str,
)
def test_wrong_kinds_of_settings_are_named(
    checkpoints: dict[str, Path], options: dict[str, Any]
) -> None:
    with pytest.raises(SetupError, match=f"{next(iter(options))} .*; expected"):
        Predictor(checkpoints["mmseg"], **options)
    with pytest.raises((CheckpointError, FileNotFoundError)):
        Predictor("~nobody_of_this_name/run")
