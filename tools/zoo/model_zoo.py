"""Write the tables of the recipes, from the configs, `tools/zoo/table.py` and `tools/zoo/costs.py`.

They stand in docs/model_zoo.md, in README.md and metafile.yml of each folder of configs, and in
model-index.yml.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from hiera_dense.weights.catalog import WEIGHTS
from tools.zoo.costs import Cost, Size, cost_of
from tools.zoo.leaves import results
from tools.zoo.table import BY_HAND, Result

ROOT = Path(__file__).parents[2]
BEGIN = "<!-- begin: written by tools/zoo/model_zoo.py -->"
END = "<!-- end -->"
HIERA = (
    "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles",
    "https://arxiv.org/abs/2306.00989",
)


@dataclass(frozen=True)
class Family:
    """Recipes of one folder of configs.

    Attributes:
        title: The method.
        paper, url: Of the method.
    """

    title: str
    paper: str
    url: str


FAMILIES: Mapping[str, Family] = {
    "mask_rcnn": Family("Mask R-CNN", "Mask R-CNN", "https://arxiv.org/abs/1703.06870"),
    "cascade_rcnn": Family(
        "Cascade Mask R-CNN",
        "Cascade R-CNN: High Quality Object Detection and Instance Segmentation",
        "https://arxiv.org/abs/1906.09756",
    ),
    "simple_pyramid": Family(
        "Mask R-CNN, simple pyramid",
        "Exploring Plain Vision Transformer Backbones for Object Detection",
        "https://arxiv.org/abs/2203.16527",
    ),
    "dino": Family(
        "DINO",
        "DINO: DETR with Improved DeNoising Anchor Boxes for End-to-End Object Detection",
        "https://arxiv.org/abs/2203.03605",
    ),
    "mask2former": Family(
        "Mask2Former",
        "Masked-attention Mask Transformer for Universal Image Segmentation",
        "https://arxiv.org/abs/2112.01527",
    ),
    "upernet": Family(
        "UperNet",
        "Unified Perceptual Parsing for Scene Understanding",
        "https://arxiv.org/abs/1807.10221",
    ),
    "classification": Family("Classification", *HIERA),
    "mae": Family("Masked autoencoders", *HIERA),
}
SIZES = ("t", "s", "b", "bplus", "l", "h")
# How a recipe's name ends: the data set, and the size of the image that its costs are told for.
DATA: Mapping[str, tuple[str, Size]] = {
    "coco": ("COCO", (1024, 1024)),
    "ade20k-512x512": ("ADE20K", (512, 512)),
    "ade20k-640x640": ("ADE20K", (640, 640)),
    "in1k-224x224": ("ImageNet-1K", (224, 224)),
}


@dataclass(frozen=True)
class Recipe:
    """A leaf config on a public data set.

    Attributes:
        path: Of the config, from the root of the repository.
        data: The data set.
        size: Of the image that costs are told for, in pixels.
        config: Parsed.
        weights: The name of the weights that it starts from, and their licence.
        result: What it reaches, as published and as measured.
    """

    path: Path
    data: str
    size: Size
    config: Config
    weights: str
    result: Result


def recipes(family: str) -> Iterator[Recipe]:
    """The recipes of a folder: by schedule, kind of weights, and size."""
    for path in sorted((ROOT / "configs" / family).glob("*.py"), key=_order):
        if (end := path.stem.split("_")[-1]) in DATA:
            yield _read(path, *DATA[end])


def _order(path: Path) -> tuple[str, str, int]:
    found = re.match(rf".*?_hiera-({'|'.join(SIZES)})(-[a-z0-9]+)?_(.*)", path.stem)
    if not found:
        sys.exit(f"{path}: expected a name with _hiera- and one of {', '.join(SIZES)}")
    return found[3], found[2] or "", SIZES.index(found[1])


def _read(path: Path, data: str, size: Size) -> Recipe:
    cfg = Config.fromfile(path)
    init = cfg.model.get("backbone", cfg.model).get("init_cfg")
    weights = f"`{init.checkpoint}`, {WEIGHTS[init.checkpoint].licence}" if init else "none"
    result = results().get(path.stem) or BY_HAND[path.stem]
    return Recipe(path.relative_to(ROOT), data, size, cfg, weights, result)


def measured() -> dict[str, Cost]:
    """The costs of all recipes, by name."""
    by_model: dict[tuple[str, Size, str], Cost] = {}
    costs = {}
    for family in FAMILIES:
        for recipe in recipes(family):
            cfg = recipe.config
            model = Config(dict(model=cfg.model)).pretty_text
            same = model, recipe.size, cfg.optim_wrapper.type
            if same not in by_model:
                by_model[same] = cost_of(cfg, recipe.size)
                print(f"{recipe.path.stem}: {by_model[same]}", flush=True)
            costs[recipe.path.stem] = by_model[same]
    return costs


def recorded() -> dict[str, Cost]:
    """The costs that the metafiles tell, by name."""
    costs = {}
    for family in FAMILIES:
        content = yaml.safe_load((ROOT / "configs" / family / "metafile.yml").read_text())
        for entry in content["Models"]:
            told = entry["Metadata"]
            keys = ("Parameters", "Multiply-adds", "Activations per image (bytes)")
            costs[entry["Name"]] = Cost(*(told.get(key) for key in keys))
    return costs


def pages(costs: Mapping[str, Cost]) -> dict[Path, str]:
    """Every file that this tool writes, by its path from the root, with its content.

    Args:
        costs: Of each recipe, by name.
    """
    written = {}
    zoo = []
    for folder, family in FAMILIES.items():
        own = list(recipes(folder))
        place = Path("configs") / folder
        written[place / "metafile.yml"] = _metafile(folder, family, own, costs)
        written[place / "README.md"] = _with(place / "README.md", _table(own, costs, place))
        zoo.append(f"## {family.title}\n\n{_table(own, costs, Path('docs'))}")
    index = dict(Import=[f"configs/{folder}/metafile.yml" for folder in FAMILIES])
    written[Path("model-index.yml")] = yaml.safe_dump(index)
    page = Path("docs/model_zoo.md")
    written[page] = _with(page, "\n\n".join(zoo))
    return written


def _with(path: Path, table: str) -> str:
    """What a page says, with a table in its place."""
    text = (ROOT / path).read_text()
    if text.count(BEGIN) != 1 or END not in text:
        sys.exit(f"{path}: expected one line {BEGIN}, and {END} after it")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def _table(own: list[Recipe], costs: Mapping[str, Cost], place: Path) -> str:
    lines = [
        "| config | parameters (M) | multiply-adds (G) | activations per image (MB) "
        "| weights | published | ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for recipe in own:
        cost = costs[recipe.path.stem]
        up = "../" * len(place.parts) if recipe.path.parent != place else ""
        link = f"{up}{recipe.path}" if up else recipe.path.name
        numbers = [
            f"{cost.parameters / 1e6:.1f}",
            "" if cost.multiply_adds is None else f"{cost.multiply_adds / 1e9:.0f}",
            "" if cost.activations is None else f"{cost.activations / 2**20:.0f}",
        ]
        cells = [f"[{recipe.path.stem}]({link})", *numbers, recipe.weights]
        result = recipe.result
        published = result.published + (f" ({result.condition})" if result.condition else "")
        lines.append(f"| {' | '.join([*cells, published, result.ours])} |")
    return "\n".join(lines)


def _metafile(folder: str, family: Family, own: list[Recipe], costs: Mapping[str, Cost]) -> str:
    models = []
    for recipe in own:
        cost = costs[recipe.path.stem]
        told: dict[str, Any] = {
            "Training Data": recipe.data,
            "Parameters": cost.parameters,
            "Multiply-adds": cost.multiply_adds,
            "Activations per image (bytes)": cost.activations,
        }
        models.append(
            {
                "Name": recipe.path.stem,
                "In Collection": family.title,
                "Config": str(recipe.path),
                "Metadata": {key: value for key, value in told.items() if value is not None},
            }
        )
    collection = {
        "Name": family.title,
        "Metadata": {"Architecture": ["Hiera", family.title]},
        "Paper": {"Title": family.paper, "URL": family.url},
        "README": f"configs/{folder}/README.md",
    }
    content = {"Collections": [collection], "Models": models}
    return str(yaml.safe_dump(content, sort_keys=False, width=100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    args = parser.parse_args()
    stale = []
    for path, text in pages(measured()).items():
        if not args.check:
            (ROOT / path).write_text(text)
        elif not (ROOT / path).is_file() or (ROOT / path).read_text() != text:
            stale.append(str(path))
    if stale:
        sys.exit(f"not as the configs say: {', '.join(stale)}; run python -m tools.zoo.model_zoo")


if __name__ == "__main__":
    main()
