"""Which images are trained on, and which are held out: as the export says, or by chance."""

import random
from collections import Counter

from hiera_dense.errors import DataError, SetupError
from hiera_dense.labels.export import TEST, TRAIN, VAL, Picture

SHARE = 0.2  # of images that are held out where an export has no splits


def divide(pictures: list[Picture], share: float | None, seed: int) -> str:
    """Give each picture its split.

    The export's own splits are kept, unless a share is given: then its training and validation
    images are divided anew. Images with labels and those without are divided apart.

    Args:
        pictures: Their splits are set.
        share: Of the images that are held out; None: a fifth, where there are no own splits.
        seed: Of the chance.

    Returns:
        How they were divided, in words.

    Raises:
        SetupError: A share is not between 0 and 1.
        DataError: A split would have no labelled images.
    """
    if share is not None and not 0 < share < 1:
        raise SetupError(f"--val {share}; expected a share between 0 and 1, such as {SHARE}")
    own = Counter(picture.split for picture in pictures)
    if share is None and own[TRAIN] and own[VAL]:
        for picture in pictures:
            picture.split = picture.split or TRAIN
        also = f"; {own[None]} images of none are trained on" if own[None] else ""
        how = f"as the export has it{also}"
    else:
        share = share or SHARE
        chance = random.Random(seed)
        free = [picture for picture in pictures if picture.split != TEST]
        labelled = [p for p in free if p.objects or p.mask]
        for group in (labelled, [p for p in free if not (p.objects or p.mask)]):
            order = sorted(group, key=lambda picture: str(picture.path))
            chance.shuffle(order)
            held = round(share * len(order))
            if group is labelled:
                held = min(max(held, 1), len(order) - 1)
            for place, picture in enumerate(order):
                picture.split = VAL if place < held else TRAIN
        how = f"by chance (share {share:g}, seed {seed})"
    for split in (TRAIN, VAL):
        if not any(p.objects or p.mask for p in pictures if p.split == split):
            raise DataError(
                f"the {split} split has no labelled images; expected two or more in all, and "
                "--val SHARE where the splits of the export are not of use"
            )
    return how
