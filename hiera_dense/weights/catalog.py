"""The published weights. To add some, add a row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

NON_COMMERCIAL = "CC BY-NC 4.0"
PERMISSIVE = "Apache-2.0"
# Of the pixels that all of them were trained on, RGB from 0 to 255.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Weight:
    """Published weights.

    Attributes:
        arch: The architecture they are for, a name in `variants.ARCHS`.
        licence: `PERMISSIVE` or `NON_COMMERCIAL`.
        layout: Whose names the file uses.
        hub: The repository on the Hugging Face hub.
        url: The same weights as a file elsewhere; the place to fetch them from where no hub is.
        file: Name of the file in the repository.
        also: Repositories with the same weights in other layouts.
        metric: As published, for the whole network that they were trained in.
        classes: Of their classifier; None: they have none.
    """

    arch: str
    licence: str
    layout: str
    hub: str | None = None
    url: str | None = None
    file: str = "model.safetensors"
    also: tuple[str, ...] = ()
    metric: str = "none"
    classes: int | None = None


_FAIR = "https://dl.fbaipublicfiles.com/hiera"
_SAM2 = "https://dl.fbaipublicfiles.com/segment_anything_2"


def _image_weights(arch: str, top1: float) -> Iterator[tuple[str, Weight]]:
    name, dashed = f"hiera_{arch}_224", f"hiera-{arch.replace('_', '-')}-224"
    yield (
        f"{name}.mae_in1k_ft_in1k",
        Weight(
            arch,
            NON_COMMERCIAL,
            "FAIR",
            hub=f"facebook/{name}.mae_in1k_ft_in1k",
            url=f"{_FAIR}/{name}.pth",
            also=(f"timm/{name}.mae_in1k_ft_in1k", f"facebook/{dashed}-in1k-hf"),
            metric=f"ImageNet-1K top-1 {top1}",
            classes=1000,
        ),
    )
    yield (
        f"{name}.mae_in1k",
        Weight(
            arch,
            NON_COMMERCIAL,
            "FAIR",
            hub=f"facebook/{name}.mae_in1k",
            url=f"{_FAIR}/mae_{name}.pth",
            also=(f"timm/{name}.mae", f"facebook/{dashed}-hf", f"facebook/{dashed}-mae-hf"),
        ),
    )


def _clip_weights(arch: str, top1: float) -> Iterator[tuple[str, Weight]]:
    name = f"hiera_{arch}"
    yield (
        f"{name}.mae_k400_ft_k400",
        Weight(
            arch,
            NON_COMMERCIAL,
            "FAIR",
            url=f"{_FAIR}/{name}.pth",
            metric=f"Kinetics-400 top-1 {top1}, 3 x 5 views",
            classes=400,
        ),
    )
    yield f"{name}.mae_k400", Weight(arch, NON_COMMERCIAL, "FAIR", url=f"{_FAIR}/mae_{name}.pth")


def _abswin_weights(tag: str, top1: float | None) -> Iterator[tuple[str, Weight]]:
    name = f"hiera_small_abswin_256.{tag}"
    metric = f"ImageNet-1K top-1 {top1}" if top1 else "none"
    classes = 1000 if top1 else 11821  # of ImageNet-12K
    yield (
        name,
        Weight(
            "small_abswin",
            PERMISSIVE,
            "timm",
            hub=f"timm/{name}",
            metric=metric,
            classes=classes,
        ),
    )


def _sam2_weights(size: str, sav: float, sav_2pt1: float) -> Iterator[tuple[str, Weight]]:
    side = 1024 if size == "large" else 896
    for version, folder, tag, score in (
        ("sam2", "072824", "", sav),
        ("sam2.1", "092824", "_2pt1", sav_2pt1),
    ):
        name = f"{version}_hiera_{size}"
        yield (
            name,
            Weight(
                f"sam2_{size}",
                PERMISSIVE,
                "SAM 2",
                hub=f"facebook/{name.replace('_', '-')}",
                url=f"{_SAM2}/{folder}/{name}.pt",
                file=f"{name}.pt",
                also=(f"timm/sam2_hiera_{size}.fb_r{side}{tag}",),
                metric=f"SA-V test J&F {score}",
            ),
        )


WEIGHTS: Mapping[str, Weight] = dict(
    (
        # Hiera (facebookresearch/hiera, README).
        *_image_weights("tiny", 82.8),
        *_image_weights("small", 83.8),
        *_image_weights("base", 84.5),
        *_image_weights("base_plus", 85.2),
        *_image_weights("large", 86.1),
        *_image_weights("huge", 86.9),
        *_clip_weights("base_16x224", 84.0),
        *_clip_weights("base_plus_16x224", 85.0),
        *_clip_weights("large_16x224", 87.3),
        *_clip_weights("huge_16x224", 87.8),
        # Absolute win (timm, README, August 2024).
        *_abswin_weights("sbb2_e200_in12k_ft_in1k", 84.912),
        *_abswin_weights("sbb2_pd_e200_in12k_ft_in1k", 84.560),
        *_abswin_weights("sbb2_e200_in12k", None),
        *_abswin_weights("sbb2_pd_e200_in12k", None),
        # SAM 2 and 2.1 (facebookresearch/sam2, README).
        *_sam2_weights("tiny", 75.0, 76.5),
        *_sam2_weights("small", 74.9, 76.6),
        *_sam2_weights("base_plus", 74.7, 78.2),
        *_sam2_weights("large", 76.0, 79.5),
    )
)
