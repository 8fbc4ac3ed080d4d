"""Splits that a data set lacks, taken from its training images.

A group of images that is held out whole judges best. So the test split gets a group first, then
the validation split. Where one group is left, all its images are cut in parts at the same place:
frames of one field show the same things, so that a whole frame would judge no better.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED, Int64
from spixgraph.errors import SpixError
from spixgraph.io.masks import read_mask
from spixgraph.io.records import SPLITS, Dataset, Part, Split

MIN_PART_PX = 32
"""Shortest side of a part that is worth a split."""


def completed(dataset: Dataset, fractions: Sequence[float]) -> Dataset:
    """Give `val` and `test` images of `train` where they have none, and say so in notes.

    Parameters
    ----------
    dataset : Dataset
    fractions : three float
        Of train, val and test; they share the pixels of an image that is cut.

    Returns
    -------
    dataset : Dataset
        As it was where nothing lacks, or where the images are too small to be cut.
    """
    for split in ("test", "val"):
        if not _has(dataset, split) and len(_groups(dataset)) > 1:
            dataset = _with_group(dataset, split)
    lacking = [split for split in SPLITS if not _has(dataset, split)]
    if lacking and _has(dataset, "train"):
        dataset = _with_parts(dataset, ("train", *lacking), fractions)
    return dataset


def _has(dataset: Dataset, split: Split) -> bool:
    return any(item.split == split for item in dataset.items)


def _groups(dataset: Dataset) -> Counter[str]:
    """Count the training images of each group that has none elsewhere."""
    others = {item.group for item in dataset.items if item.split != "train"}
    return Counter(i.group for i in dataset.items if i.split == "train" and i.group not in others)


def _with_group(dataset: Dataset, split: Split) -> Dataset:
    """Move the smallest group of the training images, the first by name of equals."""
    groups = _groups(dataset)
    chosen = min(groups, key=lambda name: (groups[name], name))
    items = tuple(replace(i, split=split) if i.group == chosen else i for i in dataset.items)
    note = (
        f"split {split} had no image: group {chosen} ({groups[chosen]} image(s)) was taken from "
        "train; state the splits in the manifest to choose another"
    )
    return replace(dataset, items=items, notes=(*dataset.notes, note))


def _with_parts(dataset: Dataset, splits: Sequence[Split], fractions: Sequence[float]) -> Dataset:
    """Cut all training images, along that axis and in that order which show most classes."""
    whole = [item for item in dataset.items if item.split == "train"]
    shares = [max(fractions[SPLITS.index(split)], 0.0) for split in splits]
    try:
        masks = [read_mask(item.mask) for item in whole]
    except SpixError:
        return dataset  # the check of the files tells what is wrong with them
    best, most = None, -1
    for axis, order in _ways(splits, shares, masks):
        parts = [_parts(mask.shape[1:], axis, order) for mask in masks]
        score = _n_present(masks, parts, splits)
        if score > most:
            best, most = parts, score
    if best is None:
        return dataset
    cut = {
        item.id: tuple(
            replace(item, id=f"{item.id}-{s}", group=f"{item.group}-{s}", split=s, part=parts[s])
            for s in splits
        )
        for item, parts in zip(whole, best, strict=True)
    }
    items = tuple(new for i in dataset.items for new in (cut[i.id] if i.split == "train" else (i,)))
    note = (
        f"split {' and '.join(splits[1:])} had no image, and train has no group to spare: each "
        f"training image was cut into parts for {', '.join(splits)}; figures of parts of the same "
        "image are too good for other images, so add images of another group to trust them"
    )
    return replace(dataset, items=items, notes=(*dataset.notes, note))


def _ways(
    splits: Sequence[Split], shares: Sequence[float], masks: Sequence[np.ndarray]
) -> Iterator[tuple[int, list[tuple[Split, float]]]]:
    """Yield the axes (0 is y), the longer first, and orders of parts that are long enough."""
    if min(shares) <= 0:
        return
    y, x = masks[0].shape[1:]
    for axis in (0, 1) if y >= x else (1, 0):
        if min(m.shape[1 + axis] for m in masks) * min(shares) / sum(shares) < MIN_PART_PX:
            continue
        for order in permutations(zip(splits, shares, strict=True)):
            yield axis, list(order)


def _parts(
    shape_yx: Sequence[int], axis: int, order: Sequence[tuple[Split, float]]
) -> dict[Split, Part]:
    """Cut a rectangle along an axis."""
    n_y, n_x = shape_yx
    ends = np.cumsum([share for _, share in order])
    cuts = [0, *np.rint(ends / ends[-1] * shape_yx[axis]).astype(int).tolist()]
    parts: dict[Split, Part] = {}
    for (split, _), begin, end in zip(order, cuts[:-1], cuts[1:], strict=True):
        parts[split] = (begin, end, 0, n_x) if axis == 0 else (0, n_y, begin, end)
    return parts


def _n_present(
    masks: Sequence[np.ndarray], parts: Sequence[dict[Split, Part]], splits: Sequence[Split]
) -> int:
    """Count the pairs of split and class that occur."""
    total = 0
    for split in splits:
        counts: Int64 = np.zeros(256, np.int64)
        for mask, cut in zip(masks, parts, strict=True):
            top, bottom, left, right = cut[split]
            counts += np.bincount(mask[:, top:bottom, left:right].ravel(), minlength=256)
        total += int(np.count_nonzero(counts[:NOT_ANNOTATED]))
    return total
