"""What is published: architectures and weights. To add one, add a row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hiera_dense.arch import AUTO, Arch, PosEmbed, Size, WindowSpec, require_known


def _sam2(
    embed_dim: int,
    num_heads: int,
    stages: Size,
    global_att_blocks: Size,
    window_spec: Size = (8, 4, 14, 7),
    table_size: Size = (7, 7),
) -> Arch:
    pos_embed = PosEmbed("absolute_win", table_size)
    return Arch(embed_dim, num_heads, stages, window_spec, global_att_blocks, pos_embed)


def _clips(embed_dim: int, num_heads: int, stages: Size) -> Arch:
    return Arch(
        embed_dim,
        num_heads,
        stages,
        pos_embed=PosEmbed("separable"),
        patch_kernel=(3, 7, 7),
        patch_stride=(2, 4, 4),
        patch_padding=(1, 3, 3),
        mask_unit=(1, 8, 8),
        q_stride=(1, 2, 2),
    )


ARCHS: Mapping[str, Arch] = {
    # Hiera (Ryali et al., ICML 2023, table 2).
    "tiny": Arch(96, 1, (1, 2, 7, 2)),
    "small": Arch(96, 1, (1, 2, 11, 2)),
    "base": Arch(96, 1, (2, 3, 16, 3)),
    "base_plus": Arch(112, 2, (2, 3, 16, 3)),
    "large": Arch(144, 2, (2, 6, 36, 4)),
    "huge": Arch(256, 4, (2, 6, 36, 4)),
    # Clips of 16 frames (facebookresearch/hiera, `hiera.py`).
    "base_16x224": _clips(96, 1, (2, 3, 16, 3)),
    "base_plus_16x224": _clips(112, 2, (2, 3, 16, 3)),
    "large_16x224": _clips(144, 2, (2, 6, 36, 4)),
    "huge_16x224": _clips(256, 4, (2, 6, 36, 4)),
    # Absolute win, layer scale, max and mean as the shortcut (timm, `hiera.py`).
    "small_abswin": Arch(
        96,
        1,
        (1, 2, 11, 2),
        pos_embed=PosEmbed("absolute_win", (16, 16), antialias=True),
        layer_scale=1e-5,
        expand_proj=False,
    ),
    # The trunks of SAM 2 and 2.1 (Ravi et al., 2024; facebookresearch/sam2, `configs/`).
    "sam2_tiny": _sam2(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "sam2_small": _sam2(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "sam2_base_plus": _sam2(112, 2, (2, 3, 16, 3), (12, 16, 20), table_size=(14, 14)),
    "sam2_large": _sam2(144, 2, (2, 6, 36, 4), (23, 33, 43), window_spec=(8, 4, 16, 8)),
}


def resolve(
    arch: str | Mapping[str, Any],
    window_spec: WindowSpec | None = None,
    global_att_blocks: Sequence[int] | None = None,
    pos_embed: Mapping[str, Any] | None = None,
    rel_pos: Size | None = None,
) -> Arch:
    """An architecture from its name or its fields, with overrides.

    Args:
        arch: A name in `ARCHS`, or the fields of an `Arch` (`pos_embed` as the fields of a
            `PosEmbed`).
        window_spec: Instead of the architecture's own.
        global_att_blocks: Instead of the architecture's own. None, with window_spec 'auto' and an
            architecture that has none: the last block of the last stage but one.
        pos_embed: Fields of a `PosEmbed`, None = the architecture's own. With another kind than the
            architecture's, the others start from that kind's defaults.
        rel_pos: Instead of the architecture's own.

    Raises:
        ValueError: A name or field is unknown, or values do not fit each other.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f"unknown arch {arch!r}; known: {', '.join(ARCHS)}")
        resolved = ARCHS[arch]
    else:
        require_known("arch", arch, Arch)
        own = arch.get("pos_embed", {})
        require_known("pos_embed", own, PosEmbed)
        resolved = Arch(**{**arch, "pos_embed": PosEmbed(**own)})
    changes: dict[str, Any] = {}
    if window_spec is not None:
        changes["window_spec"] = window_spec
        if window_spec == AUTO and not resolved.global_att_blocks:
            changes["global_att_blocks"] = resolved.stage_ends[-2:-1]
    if global_att_blocks is not None:
        changes["global_att_blocks"] = global_att_blocks
    if pos_embed is not None:
        require_known("pos_embed", pos_embed, PosEmbed)
        same = pos_embed.get("kind") in (None, resolved.pos_embed.kind)
        given = {key: value for key, value in pos_embed.items() if value is not None}
        changes["pos_embed"] = replace(resolved.pos_embed, **given) if same else PosEmbed(**given)
    if rel_pos is not None:
        changes["rel_pos"] = rel_pos
    return replace(resolved, **changes)


NON_COMMERCIAL = "CC BY-NC 4.0"
PERMISSIVE = "Apache-2.0"


@dataclass(frozen=True)
class Weight:
    """Published weights.

    Attributes:
        arch: The architecture they are for, a name in `ARCHS`.
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
