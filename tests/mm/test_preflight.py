"""A mistake in a config ends a command before the first iteration, with one line that names it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from support.common import ROOT, small_network
from support.folders import coco, write_coco
from support.training import SHORT, Refused
from torch import nn

from hiera_dense.cli import evaluate, train
from hiera_dense.data.folders import VARIABLE
from hiera_dense.errors import InputError, SetupError
from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.mm.building import building
from hiera_dense.mm.class_checks import check_classes
from hiera_dense.mm.config_checks import check_config
from hiera_dense.mm.model_checks import check_model
from hiera_dense.model.hiera import Hiera

DATA = dict(mmdet="instances", mmseg="segments", mae="classes", classifier="classes")

CHANNELS = {
    ("mmdet", "model.neck.in_channels=[24,48,96,999]"): (
        "neck.in_channels [24, 48, 96, 999], the backbone gives maps of [24, 48, 96, 192] "
        "channels; expected the same"
    ),
    ("mmdet", "model.backbone.out_indices=[0,1,2]"): (
        "neck.in_channels [24, 48, 96, 192], the backbone gives maps of [24, 48, 96] channels; "
        "expected the same"
    ),
    ("mmdet", "model.neck.start_level=5"): (
        "neck of 4 maps with start_level=5, num_outs=5; expected levels that there are"
    ),
    ("mmdet", "model.neck.num_outs=4"): (
        "rpn_head has strides for 5 maps, the neck gives 4; expected as many"
    ),
    ("mmdet", "model.rpn_head.in_channels=64"): (
        "rpn_head.in_channels 64, the neck gives maps of [128, 128, 128, 128, 128] channels; "
        "expected the same"
    ),
    ("mmdet", "model.neck.norm_cfg.type=hiera_dense.LN2d"): (
        "the neck gives maps that lie in memory as NHWC, which the RoIAlign of mmcv reads as NCHW; "
        "expected contiguous maps: no norm such as LN2d may be last"
    ),
    ("mmdet", "model.roi_head.bbox_roi_extractor.out_channels=64"): (
        "roi_head.bbox_roi_extractor.out_channels 64, the neck gives maps of [128, 128, 128, 128] "
        "channels; expected the same"
    ),
    ("mmdet", "model.roi_head.mask_head.in_channels=64"): (
        "roi_head.mask_head.in_channels 64, its roi_extractor gives 128; expected the same"
    ),
    ("mmseg", "model.decode_head.in_channels=[24,48,96,999]"): (
        "decode_head.in_channels [24, 48, 96, 999], the backbone gives maps of [24, 48, 96, 192] "
        "channels, of which in_index [0, 1, 2, 3] takes [24, 48, 96, 192]; expected the same"
    ),
    ("mmseg", "model.auxiliary_head.in_channels=48"): (
        "auxiliary_head.in_channels 48, the backbone gives maps of [24, 48, 96, 192] channels, of "
        "which in_index 2 takes 96; expected the same"
    ),
    ("mmseg", "model.backbone.out_indices=[0,1,2]"): (
        "decode_head.in_index [0, 1, 2, 3], the backbone gives 3 maps; expected -3 to 2"
    ),
}
CLASSES = {
    ("mmdet", "model.roi_head.bbox_head.num_classes=80"): (
        "roi_head.bbox_head.num_classes 80, the training data have 4 classes (disc, square, "
        "triangle, star); expected as many"
    ),
    ("mmdet", "model.roi_head.mask_head.num_classes=3"): (
        "roi_head.mask_head.num_classes 3, the training data have 4 classes (disc, square, "
        "triangle, star); expected as many"
    ),
    ("mmdet", "val_dataloader.dataset.metainfo.classes=[disc,square,star,triangle]"): (
        "training and validation data differ in the order of their classes; expected the same"
    ),
    ("mmdet", "val_dataloader.dataset.metainfo.classes=[disc,square,triangle,comet]"): (
        "training and validation data differ in the classes comet, star; expected the same"
    ),
    ("mmdet", "train_dataloader.dataset.metainfo.classes=disc"): (
        "metainfo.classes 'disc'; expected a tuple, ('disc',)"
    ),
    ("mmseg", "model.decode_head.num_classes=150"): (
        "decode_head.num_classes 150, the training data have 5 classes (background, disc, square, "
        "triangle and 1 more); expected as many"
    ),
    ("mmseg", "model.auxiliary_head.num_classes=3"): (
        "auxiliary_head.num_classes 3, the training data have 5 classes (background, disc, square, "
        "triangle and 1 more); expected as many"
    ),
    ("classifier", "model.num_classes=5"): (
        "num_classes 5, the training data have 2 classes (even, odd); expected as many"
    ),
    ("classifier", "val_dataloader.dataset.classes=[odd,even]"): (
        "training and validation data differ in the order of their classes; expected the same"
    ),
}
IMAGES = {
    ("mmdet", "model.backbone.in_channels=5"): (
        "data_preprocessor.mean and std have 3 values, backbone.in_channels is 5; expected as many"
    ),
    (
        "mmseg",
        "model.backbone.in_channels=5",
        "model.data_preprocessor.mean=None",
        "model.data_preprocessor.std=None",
    ): (
        "the first training image has 3 channels, backbone.in_channels is 5; expected as many "
        "(detectors and segmenters read images with LoadImageFromFile, see its imdecode_backend "
        "and color_type; whole images are read as RGB)"
    ),
    ("mae", "train_dataloader.dataset.transforms.0.size=150"): (
        "the first training image: masked input of size (150, 150); expected multiples of (32, 32)"
    ),
    ("classifier", "model.mixup.mixup_alpha=0.8", "train_dataloader.batch_size=3"): (
        "mixup of train_dataloader.batch_size 3; expected an even number"
    ),
}
COCO = ", ".join(
    f"coco/{kind}_{name}"
    for kind in ("bbox", "segm")
    for name in ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
)
BEST = "default_hooks.checkpoint.save_best"
METRICS = {
    ("mmdet", f"{BEST}=coco/mask_mAP"): f"{BEST} 'coco/mask_mAP'; expected {COCO}",
    ("mmdet", f"{BEST}=[coco/segm_mAP,mAP]"): f"{BEST} 'mAP'; expected {COCO}",
    ("mmseg", f"{BEST}=mIOU"): f"{BEST} 'mIOU'; expected aAcc, mIoU, mAcc",
    ("classifier", f"{BEST}=top5"): f"{BEST} 'top5'; expected top1",
    ("mae", f"{BEST}=loss"): f"{BEST} 'loss'; expected mse",
    ("mmseg", "val_evaluator.iou_metrics=[IoU]"): (
        "iou_metrics ['IoU']; expected some of mIoU, mDice, mFscore"
    ),
    ("mmdet", "val_evaluator.metric_items=[mAP_77]"): (
        "metric_items ['mAP_77']; expected some of mAP, mAP_50, mAP_75, mAP_s, mAP_m, mAP_l, "
        "AR@100, AR@300, AR@1000, AR_s@1000, AR_m@1000, AR_l@1000"
    ),
    ("mmdet", "default_hooks.checkpoint.save_bset=x"): (
        "default_hooks.checkpoint does not take 'save_bset'; expected save_best, save_last, "
        "save_begin"
    ),
}
BUILDING = {
    ("mmdet", "model.backbone.type=HieraBackbon"): (
        "type 'HieraBackbon' is not in the registry of models; expected hiera_dense.HieraBackbone"
    ),
    ("mmdet", "optim_wrapper.optimizer.type=AdamWW"): (
        "type 'AdamWW' is not in the registry of optimizers; expected AdamW, Adam, RAdam"
    ),
    ("mmseg", "train_dataloader.dataset.pipeline.4.type=PackSegInput"): (
        "type 'PackSegInput' is not in the registry of transforms; expected PackSegInputs"
    ),
    ("mmdet", "model.neck.in_chanels=3"): (
        "FPN does not take 'in_chanels'; expected in_channels, out_channels"
    ),
    ("mmdet", "model.backbone.drop_pathrate=0.1"): (
        "HieraBackbone does not take 'drop_pathrate'; expected drop_path_rate"
    ),
    ("mae", "model.decodr_dim=32"): (
        "MaskedAutoencoder does not take 'decodr_dim'; expected decoder_dim, decoder_size"
    ),
    ("mmseg", "train_cfg.max_iter=3"): (
        "IterBasedTrainLoop does not take 'max_iter'; expected max_iters"
    ),
    ("mmseg", "optim_wrapper.optimizer.lrr=1"): "AdamW does not take 'lrr'; expected lr",
    ("mmdet", "model.neck=FPN"): "'FPN' has no type; expected dict(type=..., ...)",
    ("mmdet", "model.backbone.drop_path_rate=1.5"): (
        "drop_path_rate 1.5; expected a number from 0 to 1"
    ),
}
SETTINGS = {
    ("mmdet", "trian_cfg.max_iters=3"): (
        "--cfg-options trian_cfg.max_iters: no 'trian_cfg' in the config; expected train_cfg"
    ),
    ("mmdet", "neck.in_channels=3"): (
        "--cfg-options neck.in_channels: no 'neck' in the config; expected model.neck"
    ),
    ("mmdet", "image_size=(64,64)"): (
        "--cfg-options image_size: 'image_size' is a variable, from which settings were made when "
        "the config was read; expected one of these settings, or a config of your own"
    ),
    ("mmdet", "model.test_cfg.rcnn.score_th=0.1"): (
        "--cfg-options model.test_cfg.rcnn.score_th: no 'score_th' in rcnn; expected score_thr"
    ),
    ("mmseg", "train_cfg"): "--cfg-options train_cfg; expected KEY=VALUE, with all of its brackets",
    ("mmseg", "x=[1,2"): "--cfg-options x=[1,2; expected KEY=VALUE, with all of its brackets",
}
NUMBERS = {
    "train_dataloader.batch_size=0": "train_dataloader.batch_size 0; expected an int, 1 or more",
    "val_dataloader.num_workers=-1": "val_dataloader.num_workers -1; expected an int, 0 or more",
    "train_dataloader.dataset=None": "train_dataloader has no dataset; expected one",
    "train_cfg.max_iters=0": "train_cfg.max_iters 0; expected an int, 1 or more",
    "train_cfg.max_iters=1.5": "train_cfg.max_iters 1.5; expected an int, 1 or more",
    "train_cfg.val_interval=0": "train_cfg.val_interval 0; expected an int, 1 or more",
    "train_cfg.dynamic_intervals=[(3,0)]": (
        "train_cfg.dynamic_intervals (3, 0); expected pairs of ints: from when on, and an "
        "interval, 1 or more"
    ),
    "train_cfg.type=None": (
        "train_cfg has no type; expected IterBasedTrainLoop or EpochBasedTrainLoop"
    ),
    "optim_wrapper.optimizer.lr=-1": (
        "optim_wrapper.optimizer.lr -1; expected a number, 0 or more"
    ),
    "optim_wrapper.optimizer.lr=nan": (
        "optim_wrapper.optimizer.lr nan; expected a number, 0 or more"
    ),
    "optim_wrapper.optimizer.lr=fast": (
        "optim_wrapper.optimizer.lr 'fast'; expected a number, 0 or more"
    ),
    "optim_wrapper.optimizer=AdamW": "optim_wrapper.optimizer 'AdamW'; expected a dict",
    "train_dataloader.dataset.pipeline.2.scale=[0,0]": (
        "Resize.scale [0, 0]; expected sizes above 0"
    ),
    "model.data_preprocessor.size=[0,64]": (
        "SegDataPreProcessor.size [0, 64]; expected sizes above 0"
    ),
    "model=UPerNet": "model 'UPerNet'; expected a dict",
    "train_cfg=None": "{config}: no train_cfg; expected one to train with",
    "val_cfg=None": (
        "{config}: val_dataloader and val_evaluator, but no val_cfg; expected all of them, or none"
    ),
}
NUMBERS_OF_MMSEG = {("mmseg", setting): message for setting, message in NUMBERS.items()}
IN_CONFIG = SETTINGS | NUMBERS_OF_MMSEG
WHEN_BUILT = CHANNELS | CLASSES | IMAGES | METRICS | BUILDING


def each(mistakes: dict[tuple[str, ...], str], *marks: pytest.MarkDecorator) -> list[Any]:
    return [pytest.param(mistake, id=" ".join(mistake), marks=marks) for mistake in mistakes]


@pytest.mark.parametrize("mistake", [*each(IN_CONFIG), *each(WHEN_BUILT, pytest.mark.slow)])
def test_a_mistake_is_told_before_training(
    mistake: tuple[str, ...],
    small: dict[str, Path],
    toy: Path,
    tmp_path: Path,
    refused: Refused,
) -> None:
    kind, *settings = mistake
    options = ["--data", toy / DATA[kind], "--skip-data-check", "--work-dir", tmp_path]
    said = refused(train.main, small[kind], *options, "--cfg-options", *SHORT, *settings)
    assert said.splitlines()[-1] == (IN_CONFIG | WHEN_BUILT)[mistake].format(config=small[kind])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "test_dataloader.batch_size=0",
            "test_dataloader.batch_size 0; expected an int, 1 or more",
        ),
        (
            "tset_dataloader.batch_size=1",
            "no 'tset_dataloader' in the config; expected test_datalo",
        ),
        ("model.neck.in_channels=[1,2,3,4]", "neck.in_channels [1, 2, 3, 4], the backbone gives"),
        ("model.roi_head.bbox_head.num_classes=80", "the test data have 4 classes (disc, square, "),
        ("test_evaluator.metric_items=[x]", "metric_items ['x']; expected some of mAP, mAP_50"),
        ("test_evaluator=None", "no test_evaluator; expected one to evaluate with"),
    ],
)
def test_a_mistake_is_told_before_an_evaluation(
    setting: str,
    message: str,
    small: dict[str, Path],
    toy: Path,
    tmp_path: Path,
    refused: Refused,
) -> None:
    torch.save(dict(state_dict={"backbone.norm0.weight": torch.ones(24)}), tmp_path / "any.pth")
    options = ["--data", toy / "instances", "--work-dir", tmp_path, "--cfg-options", setting]
    said = refused(evaluate.main, small["mmdet"], tmp_path / "any.pth", *options)
    assert message in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = (1,\n", "config.py, line 1: SyntaxError: '(' was never closed; expected a config th"),
        ("a = 1\nb = a / 0\n", "config.py, line 2: ZeroDivisionError: division by zero; expected"),
        (
            "_base_ = './none.py'\n",
            "config.py: no file {folder}/./none.py; expected _base_ to name",
        ),
        ("_base_ = 'mmdet::x/y.py'\n", "config.py: FileNotFoundError: file "),
        ("a = 1\n", "config.py: no model; expected one to train with"),
        (None, "config.py is a folder; expected a config file, or the name of a recipe"),
    ],
    ids=["syntax", "error", "base", "base-of-a-host", "no-model", "folder"],
)
def test_a_config_that_cannot_be_read(
    text: str | None, message: str, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "config.py"
    if text is None:
        path.mkdir()
    else:
        path.write_text(text)
    (said,) = refused(train.main, path).splitlines()
    assert message.format(folder=tmp_path) in said


def test_a_config_that_is_not_there(refused: Refused) -> None:
    (said,) = refused(train.main, "mask-rcnn_hiera-q").splitlines()
    assert said.startswith("mask-rcnn_hiera-q: no such file, and no config 'mask-rcnn_hiera-q' in ")
    assert "; expected " in said


SMALL = small_network(24, (1, 2, 3, 2))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(arch=5), "arch 5; expected a name, such as 'base', or a dict of fields"),
        (dict(arch=dict(embed_dim=8)), "expected num_heads, stages too"),
        (dict(arch=SMALL | dict(num_heads=5)), "num_heads 5, width 24; expected heads that divide"),
        (dict(arch=SMALL | dict(stages=4)), "stages 4; expected a tuple of ints, 1 or more"),
        (dict(arch=SMALL | dict(stages=(1, 0, 3, 2))), r"stages \(1, 0, 3, 2\); expected a tuple"),
        (dict(arch=SMALL | dict(stages=())), r"stages \(\); expected the number of blocks"),
        (dict(arch=SMALL | dict(embed_dim="24")), "embed_dim '24'; expected an int, 1 or more"),
        (dict(arch=SMALL | dict(mask_unit=8)), "mask_unit 8; expected a tuple of ints, 1 or more"),
        (dict(arch=SMALL | dict(mask_unit=(8,))), r"mask_unit \(8,\); expected 2 axes, or 3"),
        (dict(arch=SMALL | dict(q_stride=(2, 2, 2))), "expected a tuple of 2 ints, 1 or more"),
        (dict(arch=SMALL | dict(q_pool="1")), "q_pool '1'; expected 0 to 3, or None"),
        (dict(arch=SMALL, window_spec=8), "window_spec 8; expected 'auto', or a tuple"),
        (dict(arch=SMALL, window_spec=(8, 4, "x", 0)), "window_spec entry 'x'; expected 0"),
        (dict(arch=SMALL, global_att_blocks=5), "global_att_blocks 5; expected a tuple of ints"),
        (dict(arch=SMALL, pos_embed="absolute"), "pos_embed 'absolute'; expected a dict with some"),
        (dict(arch=SMALL, rel_pos=256), "rel_pos 256; expected tokens per axis"),
        (dict(arch=SMALL, in_channels="3"), "in_channels '3'; expected an int, 1 or more"),
        (dict(arch=SMALL, drop_path_rate=1.5), "drop_path_rate 1.5; expected a number from 0 to 1"),
        (dict(arch=SMALL, drop_path_rate="x"), "drop_path_rate 'x'; expected a number from 0 to 1"),
        (dict(arch=SMALL, with_cp=3), "with_cp 3; expected True, False, 'mlp', or some of 4"),
        (dict(arch=SMALL, out_indices=3), "out_indices 3; expected a tuple of ints, 0 or more"),
        (dict(arch=SMALL, out_indices=(3, 1)), r"out_indices \(3, 1\); expected some of 0 to 3"),
        (dict(arch=SMALL, out_norm=3), "out_norm 3; expected True or False"),
        (dict(arch=SMALL, frozen_stages="x"), "frozen_stages 'x'; expected -1 to 4"),
    ],
)
def test_a_constructor_names_what_it_cannot_use(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(SetupError, match=message):
        HieraBackbone(**kwargs)


def test_sequences_of_other_kinds_are_taken() -> None:
    backbone = HieraBackbone(SMALL, out_indices=range(1, 3), global_att_blocks=range(4, 6))
    assert backbone.out_indices == (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mmdet", "mmseg"])
def test_an_arch_of_clips_in_an_image_model(
    kind: str, small: dict[str, Path], toy: Path, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / f"clips_{kind}.py").write_text(
        f"_base_ = '{small[kind]}'\n"
        "model = dict(backbone=dict(_delete_=True, type='hiera_dense.HieraBackbone', arch=dict(\n"
        "    embed_dim=24, num_heads=1, stages=(1, 2, 3, 2), pos_embed=dict(kind='separable'),\n"
        "    patch_kernel=(3, 7, 7), patch_stride=(2, 4, 4), patch_padding=(1, 3, 3),\n"
        "    mask_unit=(1, 8, 8), q_stride=(1, 2, 2))))\n"
    )
    options = ["--data", toy / DATA[kind], "--skip-data-check", "--work-dir", tmp_path / "run"]
    said = refused(train.main, tmp_path / f"clips_{kind}.py", *options, "--cfg-options", *SHORT)
    assert "backbone.arch is one for clips (C, T, H, W), the first training image has" in said


def test_errors_that_no_config_causes_keep_their_traceback() -> None:
    with pytest.raises(ValueError, match="a bug") as error, building():
        raise ValueError("a bug")
    assert not isinstance(error.value, InputError)


RESNET = dict(
    type="RetinaNet",
    backbone=dict(type="ResNet", depth=18, out_indices=(1, 2, 3), init_cfg=None),
    neck=dict(type="FPN", in_channels=[128, 256, 512], out_channels=32, num_outs=5),
    bbox_head=dict(
        type="RetinaHead",
        num_classes=2,
        in_channels=32,
        stacked_convs=1,
        feat_channels=32,
        anchor_generator=dict(
            type="AnchorGenerator", ratios=[1.0], scales=[4], strides=[8, 16, 32, 64, 128]
        ),
    ),
)
NECKS = {
    "FPN": RESNET["neck"],
    "PAFPN": dict(RESNET["neck"], type="PAFPN"),
    "ChannelMapper": dict(type="ChannelMapper", in_channels=[128, 256, 512], out_channels=32),
    "several": [RESNET["neck"], dict(type="BFP", in_channels=32, num_levels=5)],
}


def built(cfg: dict[str, Any]) -> tuple[nn.Module, Config]:
    init_default_scope("mmdet")
    config = Config(dict(model=cfg)).model
    return MODELS.build(Config(dict(model=cfg)).model), config


@pytest.mark.parametrize("neck", NECKS)
def test_backbones_and_necks_of_others_are_looked_through(neck: str) -> None:
    given = NECKS[neck]
    head = dict(RESNET["bbox_head"])
    if neck == "ChannelMapper":
        anchors = dict(head["anchor_generator"], strides=[8, 16, 32])
        head["anchor_generator"] = anchors
    check_model(*built(RESNET | dict(neck=given, bbox_head=head)))
    first = given[0] if isinstance(given, list) else given
    wrong = dict(first, in_channels=[128, 256, 999])
    wrong_neck = [wrong, *given[1:]] if isinstance(given, list) else wrong
    with pytest.raises(SetupError, match=r"\[128, 256, 999\], the backbone gives maps of \[128, 2"):
        check_model(*built(RESNET | dict(neck=wrong_neck, bbox_head=head)))


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [
        (
            "dino/dino-4scale_hiera-t_8xb2-12e_coco.py",
            {"model.neck.out_channels": 128},
            r"embed_dims 256 of the transformer, the neck gives maps of \[128, 128, 128, 128\]",
        ),
        (
            "dino/dino-4scale_hiera-t_8xb2-12e_coco.py",
            {"model.num_feature_levels": 5},
            "num_feature_levels 5, the neck gives 4 maps; expected as many",
        ),
        (
            "mask2former/mask2former_hiera-t_8xb2-lsj-50e_coco.py",
            {"model.panoptic_head.in_channels": [96, 192, 384, 5]},
            r"panoptic_head.in_channels \[96, 192, 384, 5\], the backbone gives maps of \[96, 192,",
        ),
    ],
)
def test_transformers(recipe: str, setting: dict[str, Any], message: str) -> None:
    cfg = Config.fromfile(ROOT / "configs" / recipe)
    cfg.merge_from_dict(setting)
    init_default_scope("mmdet")
    with torch.device("meta"):
        model = MODELS.build(copy.deepcopy(cfg.model))
    with pytest.raises(SetupError, match=message):
        check_model(model, cfg.model)


def test_a_neck_may_take_one_of_the_maps() -> None:
    """CenterNet's, which this check cannot run: it has an operator of mmcv."""
    filters = dict(num_deconv_filters=(32,), num_deconv_kernels=(4,))
    neck = dict(type="CTResNetNeck", in_channels=512, **filters)
    check_model(*built(RESNET | dict(neck=neck)))
    neck["in_channels"] = 999
    with pytest.raises(SetupError, match=r"in_channels 999, the backbone gives maps of \[128"):
        check_model(*built(RESNET | dict(neck=neck)))


def test_training_and_its_numbers_are_as_without_a_look() -> None:
    model, cfg = built(RESNET)
    model.backbone.layer1.eval()
    modes = [part.training for part in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    check_model(model, cfg)
    assert [part.training for part in model.modules()] == modes
    assert all(value.equal(state[name]) for name, value in model.state_dict().items())


class Labelled:
    """A data set, or one that joins several, which have metainfo of their own."""

    def __init__(self, *classes: tuple[str, ...], **more: Any) -> None:
        infos = [dict(classes=each, **more) for each in classes]
        self.metainfo = infos if len(infos) > 1 else infos[0]


def test_classes_of_joined_data_sets_and_of_panoptic_ones() -> None:
    model, _ = built(RESNET)
    ab, abc = ("a", "b"), ("a", "b", "c")
    check_classes(model, {"training": Labelled(ab, ab), "validation": Labelled(ab)})
    check_classes(model, {"training": Labelled(abc, thing_classes=ab)})
    check_classes(model, {"training": object()})
    with pytest.raises(SetupError, match=r"bbox_head\.num_classes 2, the training data have 3"):
        check_classes(model, {"training": Labelled(ab, abc)})


def test_numbers_that_hosts_allow() -> None:
    path = ROOT / "configs/upernet/upernet_hiera-t_8xb2-amp-160k_ade20k-512x512.py"
    cfg = Config.fromfile(path)
    cfg.train_cfg.max_iters = 1e5
    cfg.optim_wrapper.optimizer.lr = 0
    check_config(cfg, "train")
    for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"):
        cfg[key] = None
    check_config(cfg, "test")


def test_models_outside_of_hosts_are_left_alone() -> None:
    check_model(Hiera(SMALL), {})
    check_classes(Hiera(SMALL), {"training": Labelled(("a",))})


@pytest.mark.parametrize("job", ["train", "test"])
def test_rewritten_annotations_that_are_gone_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Any
) -> None:
    """The config that mmengine keeps of a run names them in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = coco()
    content["annotations"][0]["area"] = "200"
    monkeypatch.setenv(VARIABLE, str(write_coco(tmp_path / "data", val=content)))
    recipe = "configs/mask_rcnn/mask-rcnn_hiera-t_fpn_1xb2-200i_coco-folder.py"
    record = tmp_path / "record.py"
    Config.fromfile(ROOT / recipe).dump(record)
    cfg = Config.fromfile(record)
    file = Path(cfg.val_evaluator.ann_file)
    file.unlink()
    check_config(cfg, job)
    assert file.is_file()
