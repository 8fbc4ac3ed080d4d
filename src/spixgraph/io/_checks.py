"""What is wrong with a data set: each function returns faults in words, none raises."""

import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED, Int64, ShapeZYX
from spixgraph.errors import SpixError
from spixgraph.io._splits import MIN_PART_PX
from spixgraph.io.images import BandDigests, image_sha256
from spixgraph.io.parts import open_item_image, open_item_mask
from spixgraph.io.records import SPLITS, Dataset, ImageRow, Item, Split, add_counts
from spixgraph.io.source import ImageInfo, row_boxes


def item_faults(dataset: Dataset) -> list[str]:
    """Check ids, paths and splits; no file is opened."""
    ids = Counter(item.id for item in dataset.items)
    faults = [
        f"id {name} is given to {n} rows; ids are unique, give each image its own"
        for name, n in ids.items()
        if n > 1
    ]
    faults += [
        f"{item.id}: {path} is outside the data set folder {dataset.root}; copy or link it there"
        for item in dataset.items
        for path in (item.image, item.mask)
        if not is_below(path, dataset.root)
    ]
    present = {item.split for item in dataset.items}
    faults += [
        f"split {name} has no image; give it at least one, of a group of its own{_too_small(name)}"
        for name in SPLITS
        if name not in present
    ]
    return faults


def _too_small(split: Split) -> str:
    """Say why a split was not taken from the training images."""
    if split == "train":
        return ""
    return f" (a single group in train is cut in parts only where these are {MIN_PART_PX} px wide)"


def is_below(path: Path, root: Path) -> bool:
    """Whether `path` is inside `root` by its name; links are not followed, DVC makes them."""
    inside, outside = (Path(os.path.normpath(p.absolute())) for p in (path, root))
    return inside.is_relative_to(outside)


def shared_groups(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """Return the groups that are in several splits, with these."""
    splits: dict[str, set[str]] = defaultdict(set)
    for item in dataset.items:
        splits[item.group].add(item.split)
    return {
        group: tuple(s for s in SPLITS if s in found)
        for group, found in sorted(splits.items())
        if len(found) > 1
    }


@dataclass(frozen=True, slots=True)
class Finding:
    """What the two files of an item hold; a file that cannot be read leaves only a fault."""

    item: Item
    row: ImageRow | None
    faults: tuple[str, ...]


def inspect(item: Item, n_classes: int) -> Finding:
    """Read both files of an item once; `n_classes` is 0 where classes were not declared."""
    faults: list[str] = []
    info, image_hash = _read_image(item, faults)
    shape, counts, mask_hash = _read_mask(item, faults)
    row = None
    if info is not None and shape is not None:
        if shape != info.shape_zyxc[:3]:
            faults.append(
                f"the image is {info.shape_zyxc[:3]} (z, y, x), but its mask is {shape}; "
                "crop or redraw one of them"
            )
        row = ImageRow(
            item.id, item.group, item.split, info.shape_zyxc, info.dtype.name, info.pixel_size_um,
            tuple(counts[:NOT_ANNOTATED].tolist()), int(counts[NOT_ANNOTATED]),
            image_hash, mask_hash, info.spacing_zyx,
        )  # fmt: skip
    ids = np.flatnonzero(counts[:NOT_ANNOTATED])
    if n_classes and (beyond := ids[ids >= n_classes].tolist()):
        faults.append(
            f"its mask holds class ids {beyond}, but {n_classes} classes are declared: 0.."
            f"{n_classes - 1}, and 255 for not annotated; declare them or correct the mask"
        )
    return Finding(item, row, tuple(f"{item.id}: {fault}" for fault in faults))


def _read_image(item: Item, faults: list[str]) -> tuple[ImageInfo | None, str]:
    try:
        with open_item_image(item) as source:
            return source.info, image_sha256(source)
    except SpixError as error:
        faults.append(str(error))
        return None, ""


def _read_mask(item: Item, faults: list[str]) -> tuple[ShapeZYX | None, Int64, str]:
    """Return the shape, the pixels per id 0..255 and the hash of a mask."""
    counts = np.zeros(256, np.int64)
    try:
        with open_item_mask(item) as source:
            digest = BandDigests(source.info.shape_zyxc, source.info.dtype)
            for box in row_boxes(source.info.shape_zyxc):
                block = source.read(*box)
                digest.add(box[0].start, box[1].start, block)
                counts += np.bincount(block.ravel(), minlength=256)
            return source.info.shape_zyxc[:3], counts, digest.hexdigest()
    except SpixError as error:
        faults.append(str(error))
        return None, np.zeros(256, np.int64), ""


def common_faults(findings: Sequence[Finding]) -> list[str]:
    """Check what the images of one data set must have in common, and what they must not."""
    rows = [f.row for f in findings if f.row is not None]
    faults = _mixed("channel counts", findings, _channels)
    faults += _mixed("2D and 3D", findings, lambda row: "2D" if row.shape_zyxc[0] == 1 else "3D")
    by_hash: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_hash[row.image_sha256].append(f"{row.id} ({row.split})")
    faults += [
        f"images {', '.join(same)} have equal pixels; keep one of them"
        for same in by_hash.values()
        if len(same) > 1
    ]
    if rows and len(ids := np.flatnonzero(add_counts(row.class_pixels for row in rows))) < 2:
        faults.append(
            f"the masks hold no class but {ids.tolist()}, at least two are needed; 255 is not "
            "annotated, so a mask of 0 and 255 must be written as 0 and 1"
        )
    return faults


def _channels(row: ImageRow) -> str:
    """Say how many channels an image has."""
    n = row.shape_zyxc[3]
    return "1 channel" if n == 1 else f"{n} channels"


def _mixed(what: str, findings: Sequence[Finding], kind: Callable[[ImageRow], str]) -> list[str]:
    """Refuse images of several kinds, and name a manifest column that would separate them."""
    kinds = [(f.item, kind(f.row)) for f in findings if f.row is not None]
    counts = Counter(k for _, k in kinds)
    if len(counts) < 2:
        return []
    found = ", ".join(f"{n} of {k}" for k, n in sorted(counts.items()))
    return [f"images have mixed {what}: {found}; {_separation(kinds)}"]


def _separation(kinds: Sequence[tuple[Item, str]]) -> str:
    """Say which choice of rows is of one kind only."""
    for column, _ in kinds[0][0].columns:
        by_value: dict[str, list[str]] = defaultdict(list)
        for item, kind in kinds:
            by_value[dict(item.columns)[column]].append(kind)
        if len(by_value) > 1 and all(len(set(k)) == 1 for k in by_value.values()):
            choices = [
                f"{shlex.quote(f'{column}={value}')} ({len(k)} of {k[0]})"
                for value, k in sorted(by_value.items())
            ]
            return f"keep one kind with --where {' or --where '.join(choices)}"
    return "make one data set of each kind, or add a column to the manifest and use --where"


def warnings_of(rows: Sequence[ImageRow], class_names: Sequence[str]) -> list[str]:
    """Return what is allowed but should be known."""
    warnings = []
    if unknown := [row.id for row in rows if row.pixel_size_um is None]:
        warnings.append(f"pixel size unknown: {len(unknown)} of {len(rows)} images")
    dtypes = Counter(row.dtype for row in rows)
    if len(dtypes) > 1:
        found = ", ".join(f"{n} of {d}" for d, n in sorted(dtypes.items()))
        warnings.append(f"mixed dtypes: {found}; intensities are scaled per image")
    if blank := [row.id for row in rows if not sum(row.class_pixels)]:
        warnings.append(f"nothing is annotated: {', '.join(blank)}")
    for split in SPLITS:
        counts = add_counts(row.class_pixels for row in rows if row.split == split)
        if absent := [n for n, k in zip(class_names, counts, strict=True) if not k]:
            warnings.append(f"split {split} has no pixel of {', '.join(absent)}")
    return warnings
