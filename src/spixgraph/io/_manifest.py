"""From a folder to the items of a data set; pixels are not read here."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from spixgraph.arrays import PixelSizeUm
from spixgraph.errors import InputError, SpixError, StoredDataError
from spixgraph.io._pixel_size import as_pixel_size
from spixgraph.io.images import is_image
from spixgraph.io.records import SPLITS, Dataset, Item, is_split

_REQUIRED = ("id", "image", "mask", "group")
_PIXEL_SIZE = ("pixel_size_um", "voxel_um_zyx")
_KNOWN = {*_REQUIRED, *_PIXEL_SIZE, "split"}
_STEMS = "no manifest.csv: images and masks are paired by stem, and each image is its own group"

Row = dict[str, str]


def scan(
    root: Path,
    *,
    where: Mapping[str, str],
    class_names: Sequence[str],
    split_fractions: Sequence[float],
    rng: np.random.Generator | None,
) -> tuple[Dataset, list[str]]:
    """Return the items that could be formed, and every fault of the others."""
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the folder of the data set")
    faults: list[str] = []
    if (root / "manifest.csv").is_file():
        rows, notes = _read_rows(root / "manifest.csv", faults), []
        rows = _kept(rows, where)
    else:
        if where:
            raise InputError(
                f"{root} has no manifest.csv, so there are no columns for {dict(where)}"
            )
        rows, notes = _pair_stems(root, faults), [_STEMS]
    if rows and "split" not in rows[0]:
        rows = _split_rows(rows, split_fractions, rng)
        notes.append("no split column: split by group at random, by the given seed")
    items = [item for row in rows if (item := _item(row, root, faults))]
    if not items and not faults:
        raise InputError(f"{root} has no images; add rows to manifest.csv or files to images/")
    names = tuple(class_names)
    return Dataset(root.resolve().name, root, tuple(items), names, tuple(notes)), faults


def _read_rows(path: Path, faults: list[str]) -> list[Row]:
    """Read the table; rows of the wrong length are faults."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            raw = list(reader)
            columns = reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise StoredDataError(
            f"{path} is not a CSV file of UTF-8: {error}; save it again"
        ) from error
    missing = [c for c in _REQUIRED if c not in columns]
    if missing:
        raise InputError(
            f"{path} lacks the columns {', '.join(missing)}, it has {', '.join(columns)}; separate "
            "them by commas and add what lacks, group may repeat id where each image stands alone"
        )
    rows = []
    for number, row in enumerate(raw, start=2):
        if None in row or None in row.values():
            faults.append(f"line {number} of {path.name} does not have {len(columns)} values")
        else:
            rows.append({k: v.strip() for k, v in row.items()})
    return rows


def _kept(rows: list[Row], where: Mapping[str, str]) -> list[Row]:
    """Keep the rows whose columns have the wanted values."""
    for column, value in where.items():
        if rows and column not in rows[0]:
            raise InputError(f"no column {column!r}; the manifest has {', '.join(rows[0])}")
        known = sorted({row[column] for row in rows})
        rows = [row for row in rows if row[column] == value]
        if not rows:
            raise InputError(
                f"no row has {column}={value}; {column} is one of {', '.join(known[:20])}"
            )
    return rows


def _pair_stems(root: Path, faults: list[str]) -> list[Row]:
    """Pair the files of images/ and masks/ by their names without suffix."""
    stems = []
    for name in ("images", "masks"):
        folder = root / name
        if not folder.is_dir():
            raise InputError(
                f"{root} holds neither manifest.csv nor the two folders images/ and masks/; "
                "docs/data.md shows both forms"
            )
        found: dict[str, Path] = {}
        for path in sorted(p for p in folder.iterdir() if is_image(p)):
            stem = path.name.split(".")[0] if path.is_dir() else path.stem
            if stem in found:
                faults.append(
                    f"{name}/ has two files of stem {stem}: {found[stem].name}, {path.name}"
                )
            found[stem] = path
        stems.append(found)
    images, masks = stems
    faults += [f"images/{images[s].name} has no mask of stem {s}" for s in images if s not in masks]
    faults += [f"masks/{masks[s].name} has no image of stem {s}" for s in masks if s not in images]
    return [
        {"id": s, "image": f"images/{images[s].name}", "mask": f"masks/{masks[s].name}", "group": s}
        for s in images
        if s in masks
    ]


def _split_rows(
    rows: list[Row], fractions: Sequence[float], rng: np.random.Generator | None
) -> list[Row]:
    """Give every group to one split, the split that lacks most in proportion to its fraction."""
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(
            f"split_fractions={tuple(fractions)} must be three numbers >= 0 that add up to 1"
        )
    if rng is None:
        raise InputError("the manifest has no split column; add it, or give rng to split by group")
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row["group"]] = sizes.get(row["group"], 0) + 1
    shuffled = [sorted(sizes)[i] for i in rng.permutation(len(sizes))]
    wanted = {s: f * len(rows) for s, f in zip(SPLITS, fractions, strict=True) if f > 0}
    if len(sizes) < len(wanted):  # of two groups, the second judges: see `io._splits`
        wanted = {s: wanted[s] for s in ("train", "test", "val") if s in wanted}
    given = dict.fromkeys(wanted, 0)
    chosen = {}
    for group in sorted(shuffled, key=lambda g: -sizes[g]):
        chosen[group] = min(wanted, key=lambda s: given[s] / wanted[s])
        given[chosen[group]] += sizes[group]
    return [row | {"split": chosen[row["group"]]} for row in rows]


def _item(row: Row, root: Path, faults: list[str]) -> Item | None:
    """Form an item, or note why not."""
    name = row["id"] or f"the row of image {row['image']!r}"
    empty = [c for c in (*_REQUIRED, "split") if not row[c]]
    if empty:
        faults.append(f"{name}: no {', '.join(empty)} in the manifest")
        return None
    if row["id"].strip(".") == "" or set(row["id"]) & set('/\\:*?"<>|\0'):
        faults.append(f"{name}: an id is used as a file name; use letters, digits, - and _")
        return None
    split = row["split"]
    if not is_split(split):
        faults.append(f"{name}: split is {split!r}, not one of {', '.join(SPLITS)}")
        return None
    try:
        size = _pixel_size(row)
    except SpixError as error:
        faults.append(f"{name}: {error}")
        return None
    columns = tuple((k, v) for k, v in row.items() if k not in _KNOWN)
    paths = (root / row["image"], root / row["mask"])
    return Item(row["id"], *paths, row["group"], split, size, columns)


def _pixel_size(row: Row) -> PixelSizeUm | None:
    """Read one number, or three as 'z y x'."""
    for column in _PIXEL_SIZE:
        if text := row.get(column, ""):
            try:
                values = [float(v) for v in text.split()]
            except ValueError:
                raise InputError(f"{column} is {text!r}, not one number or 'z y x'") from None
            return as_pixel_size(values, column)
    return None
