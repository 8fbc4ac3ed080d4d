"""Data sets: which image has which mask, on which side of the split, and whether all is sound."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spixgraph.errors import InputError
from spixgraph.io._checks import (
    common_faults,
    inspect,
    is_below,
    item_faults,
    shared_groups,
    warnings_of,
)
from spixgraph.io._manifest import scan
from spixgraph.io._splits import completed
from spixgraph.io.records import SPLITS, Dataset, DatasetReport, ImageRow, Item, Split, add_counts

__all__ = [
    "SPLITS", "Dataset", "DatasetReport", "ImageRow", "Item", "Split",
    "check_dataset", "load_dataset", "load_splits", "read_dataset",
]  # fmt: skip


def read_dataset(
    root: Path,
    *,
    where: Mapping[str, str] | None = None,
    class_names: Sequence[str] = (),
    split_fractions: Sequence[float] = (0.6, 0.2, 0.2),
    rng: np.random.Generator | None = None,
) -> Dataset:
    """Read the manifest of a data set, or pair images/ and masks/ by stem; open no image.

    Parameters
    ----------
    root : Path
        Folder with `manifest.csv` (columns id, image, mask, group; if there: split,
        pixel_size_um or voxel_um_zyx, and any other), or with the folders images/ and masks/.
    where : mapping of column to value, optional
        Keep the rows that have all of these values.
    class_names : sequence of str
        Name of class 0, 1, ...; empty: not declared.
    split_fractions : three float
        Of train, val and test, where there is no split column.
    rng : numpy Generator, optional
        Splits by group where there is no split column.

    Returns
    -------
    dataset : Dataset

    Raises
    ------
    InputError
        If a row cannot be read or a file has no partner: all such faults in one error.
    StoredDataError
        If the manifest is not a CSV file.
    """
    dataset, faults = scan(
        root, where=where or {}, class_names=class_names, split_fractions=split_fractions, rng=rng
    )
    _raise_all(dataset.name, faults)
    return dataset


def check_dataset(dataset: Dataset, *, allow_shared_groups: bool = False) -> DatasetReport:
    """Open every file once and refuse what would spoil training or its figures.

    Parameters
    ----------
    dataset : Dataset
    allow_shared_groups : bool
        Accept a group in several splits, such as z-blocks of one volume; a warning of the
        report says so, because held-out figures are then too good.

    Returns
    -------
    report : DatasetReport

    Raises
    ------
    InputError
        One error with every fault: duplicate ids, paths outside the folder, an empty split, a
        group in two splits, unreadable files, images and masks of different shape, masks of
        colours or floats, class ids beyond the declared ones, mixed channel counts, mixed 2D and
        3D, equal images, fewer than two classes.
    """
    return _check(dataset, [], allow_shared_groups=allow_shared_groups)


def load_dataset(
    root: Path,
    *,
    where: Mapping[str, str] | None = None,
    class_names: Sequence[str] = (),
    split_fractions: Sequence[float] = (0.6, 0.2, 0.2),
    rng: np.random.Generator | None = None,
    allow_shared_groups: bool = False,
    exclude: Mapping[Split, Sequence[str]] | None = None,
) -> tuple[Dataset, DatasetReport]:
    """Read and check in one go, so that one error names the faults of manifest and files.

    Where `val` or `test` has no image, it gets some of `train`: a whole group, or parts of the
    images where there is no group to spare. A warning of the report says so.

    Parameters are those of `read_dataset` and `check_dataset`.

    Parameters
    ----------
    exclude : mapping of split to ids, optional
        Items to leave out of one split, such as an image that is in train and in test; a warning
        of the report names them, an id that is not in its split is a fault.
    """
    dataset, faults = _with_splits(root, where, class_names, split_fractions, rng, exclude)
    return dataset, _check(dataset, faults, allow_shared_groups=allow_shared_groups)


def load_splits(
    root: Path,
    *,
    where: Mapping[str, str] | None = None,
    split_fractions: Sequence[float] = (0.6, 0.2, 0.2),
    rng: np.random.Generator | None = None,
    exclude: Mapping[Split, Sequence[str]] | None = None,
) -> Dataset:
    """Read a data set with the splits that `load_dataset` gives it, without its check of files.

    Parameters are those of `load_dataset`; no image is opened, masks only where they are cut.
    """
    dataset, faults = _with_splits(root, where, (), split_fractions, rng, exclude)
    _raise_all(dataset.name, faults)
    return dataset


def _with_splits(
    root: Path,
    where: Mapping[str, str] | None,
    class_names: Sequence[str],
    split_fractions: Sequence[float],
    rng: np.random.Generator | None,
    exclude: Mapping[Split, Sequence[str]] | None,
) -> tuple[Dataset, list[str]]:
    """Read the items, leave out what is not wanted, and complete the splits."""
    dataset, faults = scan(
        root, where=where or {}, class_names=class_names, split_fractions=split_fractions, rng=rng
    )
    dataset, unknown = _without(dataset, exclude or {})
    faults = [*faults, *unknown]
    return (dataset if faults else completed(dataset, split_fractions)), faults


def _without(dataset: Dataset, exclude: Mapping[Split, Sequence[str]]) -> tuple[Dataset, list[str]]:
    """Leave items out of a split, and say so in a note; return the faults of `exclude` too."""
    unwanted = {(split, name) for split, names in exclude.items() for name in names}
    here = {(item.split, item.id) for item in dataset.items}
    faults = [
        f"prepare.exclude names {name} in {split}, which is not there; correct the id or the split"
        for split, name in sorted(unwanted - here)
    ]
    items = tuple(i for i in dataset.items if (i.split, i.id) not in unwanted)
    notes = [f"{name} was left out of {split}, as asked" for split, name in sorted(unwanted & here)]
    return replace(dataset, items=items, notes=(*dataset.notes, *notes)), faults


def _check(dataset: Dataset, faults: list[str], *, allow_shared_groups: bool) -> DatasetReport:
    """Add the faults of items and files to `faults`; report if there are none."""
    shared = shared_groups(dataset)
    faults = [*faults, *item_faults(dataset)]
    if shared and not allow_shared_groups:
        faults += [
            f"group {group} is in {' and '.join(splits)}; keep a group on one side, or accept it "
            "with --allow-shared-groups (allow_shared_groups=True)"
            for group, splits in shared.items()
        ]
    inside = [
        item
        for item in dataset.items
        if is_below(item.image, dataset.root) and is_below(item.mask, dataset.root)
    ]
    findings = [inspect(item, len(dataset.class_names)) for item in inside]
    faults += [fault for finding in findings for fault in finding.faults]
    faults += common_faults(findings)
    _raise_all(dataset.name, faults)
    rows = [finding.row for finding in findings if finding.row is not None]
    return _report(dataset, rows, shared)


def _report(
    dataset: Dataset, rows: Sequence[ImageRow], shared: Mapping[str, Sequence[str]]
) -> DatasetReport:
    """Name the classes, cut the counts to them and collect warnings."""
    n_found = 1 + max(np.flatnonzero(add_counts(row.class_pixels for row in rows)).tolist())
    names = dataset.class_names or tuple(f"class_{k}" for k in range(n_found))
    rows = [replace(row, class_pixels=row.class_pixels[: len(names)]) for row in rows]
    warnings = [
        f"group {group} is in {' and '.join(splits)}: held-out figures will be too good"
        for group, splits in shared.items()
    ]
    warnings += [*dataset.notes, *warnings_of(rows, names)]
    return DatasetReport(dataset.name, names, tuple(rows), tuple(shared), tuple(warnings))


def _raise_all(name: str, faults: Sequence[str]) -> None:
    """Raise one error for all faults."""
    if faults:
        listed = "".join(f"\n  {n}. {fault}" for n, fault in enumerate(faults, start=1))
        raise InputError(f"data set {name} has {len(faults)} fault(s):{listed}")
