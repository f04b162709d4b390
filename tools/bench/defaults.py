"""Train a recipe for own data with one of its defaults changed at a time, and validate each.

    python -m tools.bench.defaults upernet-own-data data/mine --size 128 --iterations 600

From random weights, as with `--weights none`, without an early end, for a length that is given in
place of the recipe's.
"""

import argparse
import math
from pathlib import Path

from hiera_dense.data.folders import any_folder
from hiera_dense.data.survey import survey
from tools.bench.trainings import Training, marks, shortened, train_all, validations

PIPELINE = """
pipeline = {steps}
data = dict(pipeline=pipeline)
train_dataloader = dict(dataset=dict(dataset=data) if _base_.choices.repeat_below else data)
"""
DECAY = "layer decay 0.8"  # with random weights it is 1, which only --cfg-options changes
TIMES = "optim_wrapper = dict(optimizer=dict(lr=_base_.choices.lr * {times:g}))\n"
# What the text of a config changes.
CHANGES = {
    "the recipe": "",
    "without averaging (EMA)": "custom_hooks = []\n",
    "without jitter": PIPELINE.format(
        steps="[dict(type='Resize', scale=_base_.image_size, keep_ratio=True) "
        "if step['type'] == 'RandomResize' else step for step in _base_.train_pipeline]"
    ),
    "without flips": PIPELINE.format(
        steps="[step for step in _base_.train_pipeline if step['type'] != 'RandomFlip']"
    ),
    DECAY: "",
    "a third of the rate": TIMES.format(times=1 / 3),
    "three times the rate": TIMES.format(times=3),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a recipe named *-own-data")
    parser.add_argument("data", type=Path, help="a folder as `hiera-dense train --data` takes it")
    parser.add_argument("--size", type=int, default=224, help="px, a multiple of 32")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--channels", type=int, help="of neck and heads; default: the recipe's")
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=1, help="trainings at the same time")
    parser.add_argument("--changes", nargs="+", default=list(CHANGES), choices=list(CHANGES))
    args = parser.parse_args()
    images = survey(any_folder(str(args.data))).images
    epochs = math.ceil(args.iterations * args.batch / images)
    text = shortened(args.recipe, epochs, epochs, args.channels)
    options = ["--size", str(args.size), "--batch", str(args.batch), "--no-report"]
    options += ["--weights", "none"]
    decay = {"optim_wrapper.paramwise_cfg.layer_decay_rate": 0.8}
    trainings = [
        Training(
            text + CHANGES[name],
            args.data,
            options,
            {"randomness.seed": args.seed, **(decay if name == DECAY else {})},
            name,
        )
        for name in args.changes
    ]
    found = [marks(validations(logged)[-1]) for logged in train_all(trainings, args.at_once)]
    print(f"\n{args.recipe}, {args.data.name}, {args.size} px, {epochs} epochs, seed {args.seed}\n")
    print("| | " + " | ".join(found[0]) + " |\n" + "|---" * (1 + len(found[0])) + "|")
    for name, values in zip(args.changes, found, strict=True):
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in values.values()) + " |")


if __name__ == "__main__":
    main()
