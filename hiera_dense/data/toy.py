"""A small data set of overlapping shapes, for trying instance and semantic segmentation.

The same scenes are written twice:
    FOLDER/instances  train/, val/, instances_train.json, instances_val.json (COCO, RLE masks)
    FOLDER/segments   {images,annotations}/{training,validation}/ (annotations: index masks),
                      classes.txt
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from pycocotools import mask as rle

Array = NDArray[Any]

# A class and the colour that its shapes lean to.
CLASSES = {
    "disc": (0.9, 0.3, 0.2),
    "square": (0.2, 0.8, 0.3),
    "triangle": (0.2, 0.4, 0.9),
    "star": (0.9, 0.8, 0.2),
}
CORNERS = {"disc": 48, "square": 4, "triangle": 3, "star": 10}
SPLITS = {"train": "training", "val": "validation"}
MIN_VISIBLE = 0.3  # share of a shape that no other shape may cover
MIN_PIXELS = 24


def texture(rng: np.random.Generator, size: int, cells: int) -> Array:
    """Smooth noise around 0, shape (size, size)."""
    noise = (rng.random((cells, cells)) * 255).astype(np.uint8)
    image = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32) / 255 - 0.5


def silhouette(rng: np.random.Generator, name: str, size: int) -> Image.Image:
    """One shape of random place, scale, turn and stretch; 255 inside."""
    corners = CORNERS[name]
    radius = size * np.exp(rng.uniform(np.log(0.06), np.log(0.22)))
    angles = rng.random() * 2 * np.pi + np.arange(corners) * 2 * np.pi / corners
    radii = radius * np.where(np.arange(corners) % 2, 0.45 if name == "star" else 1.0, 1.0)
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]
    points = points * rng.uniform(0.8, 1.25, 2) + rng.uniform(0.05 * size, 0.95 * size, 2)
    canvas = Image.new("L", (size, size))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in points], fill=255)
    return canvas


def draw_scene(rng: np.random.Generator, size: int) -> tuple[Array, list[tuple[int, Array]]]:
    """Draw one picture.

    Returns:
        The image, uint8, shape (size, size, 3), and for each shape its class and the bool mask of
        what is visible of it.
    """
    base, tint = rng.uniform(0.3, 0.6, 3), rng.uniform(-0.3, 0.3, 3)
    image = base + texture(rng, size, 5)[..., None] * tint
    image += 0.25 * texture(rng, size, size // 4)[..., None]
    shapes: list[tuple[int, Array, int]] = []  # class, visible part, area
    for _ in range(rng.integers(3, 10)):
        label = int(rng.integers(len(CLASSES)))
        name = list(CLASSES)[label]
        canvas = silhouette(rng, name, size)
        mask = np.asarray(canvas) > 0
        left = [(other, visible & ~mask, area) for other, visible, area in shapes]
        if mask.sum() < MIN_PIXELS or any(v.sum() < MIN_VISIBLE * area for _, v, area in left):
            continue
        shapes = [*left, (label, mask, int(mask.sum()))]
        color = 0.75 * np.array(CLASSES[name]) + 0.25 * rng.random(3)
        fill = color + 0.3 * texture(rng, size, 12)[..., None]
        edge = mask & (np.asarray(canvas.filter(ImageFilter.MinFilter(3))) == 0)
        image = np.where(mask[..., None], np.where(edge[..., None], fill * 0.5, fill), image)
    image += rng.normal(0, 0.02, image.shape)
    visible = [(label, mask) for label, mask, _ in shapes]
    return (image.clip(0, 1) * 255).astype(np.uint8), visible


def annotation(mask: Array, label: int) -> dict[str, Any]:
    """A COCO annotation without its ids."""
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "category_id": label + 1,
        "iscrowd": 0,
        "area": float(rle.area(encoded)),
        "bbox": rle.toBbox(encoded).tolist(),
        "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()},
    }


def write_split(folder: Path, split: str, images: int, size: int, seed: int) -> None:
    """Draw one split in both formats."""
    rng = np.random.default_rng(seed)
    coco_folder = folder / "instances" / split
    image_folder = folder / "segments" / "images" / SPLITS[split]
    mask_folder = folder / "segments" / "annotations" / SPLITS[split]
    for new in (coco_folder, image_folder, mask_folder):
        new.mkdir(parents=True, exist_ok=True)
    coco: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [
            {"id": i + 1, "name": name, "supercategory": "shape"} for i, name in enumerate(CLASSES)
        ],
    }
    for number in range(1, images + 1):
        pixels, instances = draw_scene(rng, size)
        name = f"{number:04d}.png"
        Image.fromarray(pixels).save(coco_folder / name)
        Image.fromarray(pixels).save(image_folder / name)
        classes = np.zeros((size, size), np.uint8)
        for label, mask in instances:
            classes[mask] = label + 1
            ids = {"id": len(coco["annotations"]) + 1, "image_id": number}
            coco["annotations"].append(ids | annotation(mask, label))
        Image.fromarray(classes).save(mask_folder / name)
        coco["images"].append({"id": number, "file_name": name, "width": size, "height": size})
    (folder / "instances" / f"instances_{split}.json").write_text(json.dumps(coco))
    (folder / "segments" / "classes.txt").write_text("\n".join(["background", *CLASSES]) + "\n")
