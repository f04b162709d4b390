"""The recipes on COCO and ADE20K: methods, backbones, and what follows from the size of one.

`leaves` writes a config for each method and backbone. To add a backbone, a size or a method, add a
row here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hiera_dense.model.arch import Arch
from hiera_dense.model.variants import ARCHS


@dataclass(frozen=True)
class Size:
    """What follows from the size of a trunk.

    Attributes:
        letter: As the papers write it.
        arch: Hiera of that size, a name in `ARCHS`.
        like: The size whose settings this one has, where the Hiera paper (appendix A.2) tells none.
        rate: Learning rate at batch 64, Mask R-CNN for 100 epochs.
        drop_path: With that and all other recipes but UperNet.
        upernet_drop_path: With UperNet; the value of MAE's ViT-B, larger ones are our choice.
    """

    letter: str
    arch: str
    like: str | None
    rate: float
    drop_path: float
    upernet_drop_path: float


SIZES: Mapping[str, Size] = {
    "t": Size("T", "tiny", "b", 3.5e-5, 0.1, 0.1),
    "s": Size("S", "small", "b", 3.5e-5, 0.1, 0.1),
    "b": Size("B", "base", None, 3.5e-5, 0.2, 0.1),
    "bplus": Size("B+", "base_plus", None, 3.5e-5, 0.2, 0.1),
    "l": Size("L", "large", None, 3e-5, 0.4, 0.2),
    "h": Size("H", "huge", "l", 3e-5, 0.4, 0.3),
}


@dataclass(frozen=True)
class Kind:
    """Trunks with weights from one place, as {letter} and {arch} of a size.

    Attributes:
        title: As a header calls it.
        arch: A name in `ARCHS`.
        checkpoint: A name in `catalog.WEIGHTS`.
        weights: What they were trained on.
        about: What stands over a backbone of this kind.
        windows: Where it has others than its own; `Method.dense` takes these.
    """

    title: str
    arch: str
    checkpoint: str
    weights: str
    about: str
    windows: str


_FOLLOW = """
# In place of global attention in all of stages 3 and 4, for images of detection: windows that follow
# the image, and three global blocks, at the places of SAM 2's trunk of this depth. Our choice; one, the
# last, takes less time (docs/windows.md).
windows = dict(window_spec='auto', global_att_blocks={places})"""
_OWN = """
windows = dict()  # its own, three global blocks among them"""
_TILED = """
# The blocks are those of SAM 2's trunk of this depth; the paper's were not readable.
windows = dict(
    window_spec=(8, 4, 14, 7),
    global_att_blocks={places},
    pos_embed=dict(resize='tile', global_size=(7, 7)),
    rel_pos=(256, 256))"""

KINDS: Mapping[str, Kind] = {
    "": Kind(
        "Hiera-{letter}",
        "{arch}",
        "hiera_{arch}_224.mae_in1k",
        "MAE on ImageNet-1K",
        "Hiera-{letter}, weights of a masked autoencoder on ImageNet-1K.",
        _FOLLOW,
    ),
    "sam2": Kind(
        "HieraDet-{letter} of SAM 2.1",
        "sam2_{arch}",
        "sam2.1_hiera_{arch}",
        "SAM 2.1",
        "HieraDet-{letter}, the trunk of SAM 2.1 with its weights, trained at 1024 x 1024 px.",
        _OWN,
    ),
    "abswin": Kind(
        "timm's Hiera-{letter} with absolute win",
        "{arch}_abswin",
        "hiera_{arch}_abswin_256.sbb2_e200_in12k_ft_in1k",
        "ImageNet-12K and -1K",
        "timm's Hiera-{letter} with absolute win, weights of a classifier of ImageNet-12K and -1K.",
        _FOLLOW,
    ),
    "det": Kind(
        "HieraDet-{letter} as its paper describes it",
        "{arch}",
        "hiera_{arch}_224.mae_in1k",
        "MAE on ImageNet-1K",
        'HieraDet-{letter} after "Window Attention is Bugged" (Bolya et al., 2024): in stages 3 and '
        "4 windows as large as the grids were in pretraining, the position table tiled; beside it a "
        "part that follows the image, and relative position in global blocks, both from zero. "
        "Weights of a masked autoencoder on ImageNet-1K.",
        _TILED,
    ),
}


@dataclass(frozen=True)
class Backbone:
    """A size of a kind, by a name such as `b` or `b-det`."""

    name: str

    @property
    def size(self) -> Size:
        return SIZES[self.name.partition("-")[0]]

    @property
    def kind(self) -> Kind:
        return KINDS[self.name.partition("-")[2]]

    @property
    def arch(self) -> Arch:
        """The architecture itself."""
        return ARCHS[self.say(self.kind.arch)]

    def say(self, template: str) -> str:
        """A template of its kind with its size filled in."""
        places = _places(self.size.arch)
        return template.format(letter=self.size.letter, arch=self.size.arch, places=places)


def _places(arch: str) -> tuple[int, ...]:
    """The global blocks of SAM 2's trunk of the same depth."""
    depths = ARCHS[arch].stages
    return next(
        tuple(a.global_att_blocks)
        for n, a in ARCHS.items()
        if n.startswith("sam2") and a.stages == depths
    )


@dataclass(frozen=True)
class Result:
    """What a recipe reaches.

    Attributes:
        published: Of which network, where it is not this one: in `condition`.
        ours: What we measured, or "not yet run".
    """

    published: str = "none"
    condition: str = ""
    ours: str = "not yet run"


@dataclass(frozen=True)
class Method:
    """A method on a data set with a schedule.

    Attributes:
        folder: Of its configs.
        start, end: Of their names; `_hiera-BACKBONE_` stands between.
        title: As a header says it.
        settings: Where its settings come from, with {rate} and {drop_path}: as published, or our
            choice.
        bases: Its files in `_base_`, beside the backbone's.
        body: What it sets itself, with {drop_path}, {rate}, {decay} and {upernet_drop_path}.
        backbones: By name.
        dense: Whether backbones have the windows of their kind, and not those of pretraining.
        results: By backbone, of those that have any.
    """

    folder: str
    start: str
    end: str
    title: str
    settings: str
    bases: tuple[str, ...]
    body: str
    backbones: tuple[str, ...]
    dense: bool = True
    results: Mapping[str, Result] = field(default_factory=dict)


_SMALL = ("t", "s", "b", "bplus", "t-sam2", "s-sam2", "bplus-sam2", "s-abswin")
_LARGE = ("l", "l-sam2")
_ALL = (*_SMALL, *_LARGE, "h")
_DET = ("b-det", "l-det")

_FPN = """
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate={drop_path}),
    neck=dict(in_channels=_base_.channels))"""
_RATE = """
optim_wrapper = dict(optimizer=dict(lr={rate}))"""
_PYRAMID = """
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate={drop_path}),
    neck=dict(in_channels=_base_.channels[-1]))"""
_DINO = """
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate={drop_path}),
    neck=dict(in_channels=_base_.channels[1:]))
default_hooks = dict(checkpoint=dict(save_best='coco/bbox_mAP'))"""
_INSTANCES = """
model = dict(
    backbone=dict(**_base_.backbone, **_base_.windows, drop_path_rate={drop_path}),
    panoptic_head=dict(in_channels=_base_.channels))"""
_SEMANTIC = """
model = dict(
    data_preprocessor=dict(size=_base_.crop_size, size_divisor=None),
    backbone=dict(**_base_.backbone, drop_path_rate={drop_path}),
    decode_head=dict(in_channels=_base_.channels))"""
_UPERNET = """
# Windows and global blocks as in pretraining (those of SAM 2 need padding here). Crops of one size in
# training and, sliding, in evaluation: the position table sees one size.
model = dict(
    data_preprocessor=dict(size=_base_.crop_size, size_divisor=None),
    backbone=dict(**_base_.backbone, drop_path_rate={upernet_drop_path}),
    decode_head=dict(in_channels=_base_.channels),
    auxiliary_head=dict(in_channels=_base_.channels[2]),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=STRIDE))
# The first block has the same rate as in that recipe, whose ViT has 12 blocks.
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate={decay}))"""

_HIERA_PAPER = "after Hiera (Ryali et al., ICML 2023), appendix A.2, at batch 64"
_SWIN = "Learning rate: mmdet's for Swin at batch 16. Drop path: {drop_path}."
_MASK2FORMER = "Learning rate: the Mask2Former paper's at batch 16. Drop path: {drop_path}."
_MAE = (
    "No ADE20K result of Hiera is published; recipe of MAE's ViT-B, learning rate as published for "
    "batch 16. Drop path: {upernet}. Without the weights (model.backbone.init_cfg=None) set also "
    "optim_wrapper.paramwise_cfg.layer_decay_rate=1."
)
_COCO_100 = ("datasets/coco_instance_lsj.py", "schedules/adamw_step_100e.py", "mmdet_runtime.py")
_COCO_36 = ("datasets/coco_instance_ms.py", "schedules/adamw_step_3x.py", "mmdet_runtime.py")
_COCO_12 = ("datasets/coco_instance.py", "schedules/adamw_step_1x.py", "mmdet_runtime.py")


def _regions(folder: str, start: str, name: str, results: Mapping[str, Result]) -> list[Method]:
    """Mask R-CNN or Cascade, with FPN, for three lengths."""
    model = f"models/{start}_hiera_fpn.py"
    both = "Learning rate: {rate}. Drop path: {drop_path}."
    return [
        Method(
            folder,
            start,
            "fpn_8xb8-amp-lsj-100e_coco",
            f"{name} on COCO, 100 epochs, large-scale jitter, {_HIERA_PAPER}",
            both,
            (model, *_COCO_100),
            _FPN + _RATE,
            (*_ALL, *_DET),
            results=results,
        ),
        Method(
            folder,
            start,
            "fpn_8xb2-amp-ms-3x_coco",
            f"{name} on COCO, 36 epochs, many scales",
            _SWIN,
            (model, *_COCO_36),
            _FPN,
            (*_SMALL, *_LARGE),
        ),
        Method(
            folder,
            start,
            "fpn_8xb2-amp-1x_coco",
            f"{name} on COCO, 12 epochs",
            _SWIN,
            (model, *_COCO_12),
            _FPN,
            _SMALL,
        ),
    ]


def _on_ade20k(
    folder: str, title: str, settings: str, model: str, schedule: str, end: str, body: str
) -> list[Method]:
    """Small backbones on crops of 512 px, large ones on 640."""
    return [
        Method(
            folder,
            folder,
            f"{end}_ade20k-{side}x{side}",
            title,
            settings,
            (model, f"datasets/ade20k_{side}.py", schedule, "mmseg_runtime.py"),
            body.replace("STRIDE", str((2 * side // 3,) * 2)),
            backbones,
            dense=False,
        )
        for side, backbones in ((512, _SMALL), (640, (*_LARGE, "h")))
    ]


METHODS: tuple[Method, ...] = (
    *_regions(
        "mask_rcnn",
        "mask-rcnn",
        "Mask R-CNN",
        {
            "b": Result("box AP 52.2, mask AP 46.3", "from MAE weights"),
            "bplus": Result("box AP 53.5, mask AP 47.3", "from MAE weights"),
            "l": Result("box AP 55.0, mask AP 48.6", "from MAE weights"),
        },
    ),
    *_regions("cascade_rcnn", "cascade-mask-rcnn", "Cascade Mask R-CNN", {}),
    Method(
        "simple_pyramid",
        "mask-rcnn",
        "simple-pyramid_8xb8-amp-lsj-100e_coco",
        "Mask R-CNN on the last stage alone, with ViTDet's simple pyramid (Li et al., 2022), on COCO, "
        "100 epochs, at batch 64",
        "Learning rate: {rate}. Drop path: {drop_path}.",
        ("models/mask-rcnn_hiera_simple-pyramid.py", *_COCO_100),
        _PYRAMID + _RATE,
        _ALL,
    ),
    Method(
        "dino",
        "dino-4scale",
        "8xb2-12e_coco",
        "DINO on COCO, 12 epochs",
        "Learning rate: the DINO paper's at batch 16. Drop path: {drop_path}.",
        (
            "models/dino-4scale_hiera.py",
            "datasets/coco_detection_ms.py",
            "schedules/adamw_step_dino_12e.py",
            "mmdet_runtime.py",
        ),
        _DINO,
        _ALL,
    ),
    Method(
        "mask2former",
        "mask2former",
        "8xb2-lsj-50e_coco",
        "Mask2Former on COCO instances, 50 epochs",
        _MASK2FORMER,
        (
            "models/mask2former-instance_hiera.py",
            "datasets/coco_instance_lsj_mask2former.py",
            "schedules/adamw_step_mask2former_50e.py",
            "mmdet_runtime.py",
        ),
        _INSTANCES,
        _ALL,
    ),
    *_on_ade20k(
        "mask2former",
        "Mask2Former on ADE20K, 160k iterations",
        _MASK2FORMER,
        "models/mask2former-semantic_hiera.py",
        "schedules/adamw_poly_mask2former_160k.py",
        "8xb2-160k",
        _SEMANTIC,
    ),
    *_on_ade20k(
        "upernet",
        "UperNet on ADE20K, 160k iterations",
        _MAE,
        "models/upernet_hiera.py",
        "schedules/adamw_poly_160k.py",
        "8xb2-amp-160k",
        _UPERNET,
    ),
)

# Recipes whose configs are written by hand.
BY_HAND: Mapping[str, Result] = {
    "mae_hiera-b_8xb512-amp-400e_in1k-224x224": Result("none for these 400 epochs"),
    "classifier_hiera-b_8xb128-amp-100e_in1k-224x224": Result(
        "top-1 84.5", "Hiera paper, its own recipe"
    ),
}
