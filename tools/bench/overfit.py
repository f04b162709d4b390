"""Train a recipe for own data on few images and validate it on the same, to see that it can learn.

    python -m tools.bench.overfit mask-rcnn-own-data data/mine --size 128 --iterations 400

From random weights, without augmentation, and without an early end. Marks near 100 are expected; if
they stay low, a part of the recipe is broken: labels beside their objects, a loss that moves
nothing, a rate that is far too high. `--channels 64` narrows neck and heads, to spare a CPU.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from hiera_dense.data.folders import any_folder
from hiera_dense.data.masks import pair_masks
from tools.bench.trainings import Training, marks, shortened, train, validations

PLAIN = """
left_out = ('RandomFlip', 'PhotoMetricDistortion')
pipeline = [
    dict(type='Resize', scale=_base_.image_size, keep_ratio=True)
    if step['type'] == 'RandomResize' else step
    for step in _base_.train_pipeline if step['type'] not in left_out
]
data = dict(pipeline=pipeline)
train_dataloader = dict(dataset=dict(dataset=data) if _base_.choices.repeat_below else data)
"""


def few(root: Path, images: int, folder: Path) -> None:
    """Make a folder whose two splits both are the first training images of another folder."""
    source = any_folder(str(root))
    train = source["train"]
    place = Path(source["root"])
    if source["kind"] == "masks":
        names = source["classes"]
        pairs = pair_masks(place / train["images"], place / train["annotations"])
        chosen = [(i, m) for i, m in pairs.items() if m][:images]
        for split in ("train", "val"):
            for kind, index in (("images", 0), ("masks", 1)):
                (folder / kind / split).mkdir(parents=True)
                for pair in chosen:
                    shutil.copy(pair[index], folder / kind / split)
        (folder / "classes.txt").write_text("\n".join(names))
        return
    content = json.loads((place / train["annotations"]).read_text("utf-8-sig"))
    labelled = {annotation["image_id"] for annotation in content["annotations"]}
    content["images"] = [i for i in content["images"] if i["id"] in labelled][:images]
    ids = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in ids]
    for split in ("train", "val"):
        (folder / split).mkdir()
        for image in content["images"]:
            shutil.copy(place / train["images"] / image["file_name"], folder / split)
        (folder / f"instances_{split}.json").write_text(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a recipe named *-own-data")
    parser.add_argument("data", type=Path, help="a folder as `hiera-dense train --data` takes it")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="px")
    parser.add_argument("--channels", type=int, help="of neck and heads; default: the recipe's")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--validations", type=int, default=8)
    parser.add_argument("--rate", type=float, help="learning rate; default: the recipe's")
    args = parser.parse_args()
    epochs = max(1, args.iterations * args.batch // args.images)
    interval = max(1, epochs // args.validations)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        few(args.data, args.images, Path(name))
        text = shortened(args.recipe, epochs, interval, args.channels) + PLAIN
        options = ["--size", str(args.size), "--batch", str(args.batch)]
        options += ["--weights", "none", "--no-report"]
        settings = {"optim_wrapper.optimizer.lr": args.rate} if args.rate else {}
        logged = train(Training(text, Path(name), options, settings), is_shown=True)
    minutes = (time.monotonic() - begin) / 60
    print(f"{args.recipe}, {args.images} images of {args.data}, {args.size} px, {minutes:.1f} min")
    for line in validations(logged):
        print(f"  epoch {line['step']}: {marks(line)}")


if __name__ == "__main__":
    main()
