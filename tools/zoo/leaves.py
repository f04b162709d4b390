"""Write the configs of recipes on COCO and ADE20K, and of backbones, from `tools/zoo/table.py`.

python -m tools.zoo.leaves           writes them, and removes those that left the table
python -m tools.zoo.leaves --check   writes nothing, and fails on a difference
"""

import argparse
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from hiera_dense.weights.catalog import WEIGHTS
from tools.zoo.table import METHODS, SIZES, Backbone, Method, Result

ROOT = Path(__file__).parents[2]
CONFIGS = Path("configs")
MARK = "# Written by tools/zoo/leaves.py."
_WIDTH = 104


def files() -> dict[Path, str]:
    """Every file that the table makes, by its path from the root."""
    names = dict.fromkeys(name for method in METHODS for name in method.backbones)
    written = {
        CONFIGS / f"_base_/backbones/hiera-{name}.py": _backbone(Backbone(name)) for name in names
    }
    for path, method, backbone in leaves():
        written[path] = _leaf(path, method, backbone)
    return written


def leaves() -> Iterator[tuple[Path, Method, Backbone]]:
    """Path, method and backbone of each recipe."""
    for method in METHODS:
        for name in method.backbones:
            file = f"{method.start}_hiera-{name}_{method.end}.py"
            yield CONFIGS / method.folder / file, method, Backbone(name)


def results() -> dict[str, Result]:
    """What each recipe reaches, by its name."""
    return {
        path.stem: method.results.get(backbone.name, Result())
        for path, method, backbone in leaves()
    }


def stale() -> list[Path]:
    """Files that were written once and are no longer in the table."""
    own = {path for path in (ROOT / CONFIGS).rglob("*.py") if MARK in path.read_text()}
    return sorted(own - {ROOT / path for path in files()})


def _leaf(path: Path, method: Method, backbone: Backbone) -> str:
    size, kind = backbone.size, backbone.kind
    title, drop_path = backbone.say(kind.title), size.drop_path
    settings = method.settings.format(
        rate=_source(method, backbone, True),
        drop_path=_source(method, backbone, False),
        upernet="as there" if size.upernet_drop_path == 0.1 else "our choice",
    )
    result = method.results.get(backbone.name, Result())
    condition = f", {result.condition}" if result.condition else ""
    header = [
        *_comment(f"{title}, {method.title}. {settings}"),
        f"# Hardware: 8 GPUs. Weights: {kind.weights}, {_licence(backbone)}.",
        "# Command: tools/dist_train.sh \\",
        f"#     {path} 8",
        f"# Published{condition}: {result.published}. Ours: {result.ours}.",
        MARK,
    ]
    model, *others = method.bases
    bases = (model, f"backbones/hiera-{backbone.name}.py", *others)
    body = method.body.format(
        rate=f"{size.rate:g}".replace("e-0", "e-"),
        drop_path=drop_path,
        upernet_drop_path=size.upernet_drop_path,
        # With 0.65 and 12 blocks, the recipe's, as small for the first block.
        decay=round(0.65 ** (12 / sum(backbone.arch.stages)), 3),
    )
    listed = "".join(f"    '../_base_/{base}',\n" for base in bases)
    return "\n".join(header) + f"\n_base_ = [\n{listed}]{body}\n"


def _backbone(backbone: Backbone) -> str:
    kind = backbone.kind
    checkpoint = backbone.say(kind.checkpoint)
    lines = [*_comment(f"{backbone.say(kind.about)} Licence: {_licence(backbone)}."), MARK]
    lines += ["backbone = dict(", f"    arch='{backbone.say(kind.arch)}',"]
    if backbone.size is SIZES["h"]:
        lines += [
            "    # Activations of MLPs are computed again in the backward pass: 8 images would",
            "    # not fit 80 GB otherwise.",
            "    with_cp='mlp',",
        ]
    lines += [f"    init_cfg=dict(type='Pretrained', checkpoint='{checkpoint}'))"]
    lines += [f"channels = {list(backbone.arch.dims)}"]
    return "\n".join(lines) + backbone.say(kind.windows) + "\n"


def _source(method: Method, backbone: Backbone, rate: bool) -> str:
    """Where a setting comes from, in words."""
    size = backbone.size
    if size.like == "b" and not rate:
        return "our choice"
    if size.like:
        return f"our choice, as for Hiera-{SIZES[size.like].letter}"
    if method.results.get(backbone.name):
        return "as published"
    return f"as published for Hiera-{size.letter}, Mask R-CNN, 100 epochs"


def _licence(backbone: Backbone) -> str:
    return WEIGHTS[backbone.say(backbone.kind.checkpoint)].licence


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    args = parser.parse_args()
    others = [
        path
        for path, text in files().items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text() != text
    ]
    if args.check:
        if others or stale():
            names = ", ".join(map(str, [*others, *stale()]))
            sys.exit(f"not as the table says: {names}; run python -m tools.zoo.leaves")
        return
    for path in others:
        (ROOT / path).write_text(files()[path])
    for path in stale():
        path.unlink()
    print(f"{len(files())} files, of which {len(others)} were written")


if __name__ == "__main__":
    main()
