"""`spixgraph data add`: new annotated images, checked before the manifest changes."""

import csv
import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from spixgraph.errors import InputError
from spixgraph.files import atomic_path, sha256_file
from spixgraph.io.dataset import Dataset, Item, Split, check_dataset, read_dataset
from spixgraph.registry.lineage import stage_that_makes

_SHARES: tuple[tuple[Split, float], ...] = (("train", 0.6), ("val", 0.8), ("test", 1.0))
_PATH = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class Addition:
    """What was added.

    Attributes
    ----------
    items : tuple of Item
        The new ones, as they stand in the data set now.
    n_known : int
        How many of the images were there already.
    """

    items: tuple[Item, ...]
    n_known: int


@click.command()
@click.argument("dataset", type=_PATH)
@click.argument("new", type=_PATH)
@click.option(
    "--split-by-group",
    is_flag=True,
    help="Spread new groups over train, val and test; by default they are for training.",
)
@click.option("--seed", default=0, show_default=True, help="Of --split-by-group.")
@click.option("--allow-shared-groups", is_flag=True, help="Accept a group in several splits.")
def add(
    dataset: Path, new: Path, split_by_group: bool, seed: int, allow_shared_groups: bool
) -> None:
    """Copy the images and masks of NEW into DATASET and add them to its manifest.csv.

    \b
    Example:
      spixgraph data add data/cells monday/ --split-by-group
      dvc repro

    A group that DATASET knows stays on its side of the split. An image that is there already is
    left out. Nothing changes if the whole would not pass `spixgraph data check`.
    """
    if stage := stage_that_makes(dataset, Path()):
        raise InputError(
            f"{dataset} is made by the stage {stage}: dvc repro would make it anew without the new "
            "images; copy it, run `dvc add` on the copy, and let prepare.source name that"
        )
    done = add_images(
        dataset,
        new,
        split_by_group=split_by_group,
        seed=seed,
        allow_shared_groups=allow_shared_groups,
    )
    for item in done.items:
        click.echo(f"{item.split:5}  {item.id} (group {item.group})")
    known = f", {done.n_known} were there already" if done.n_known else ""
    tracked = dataset.with_name(f"{dataset.name}.dvc").is_file()
    following = f"dvc add {dataset} && dvc repro" if tracked else "dvc repro"
    click.echo(f"added {len(done.items)} images to {dataset}{known}; next: {following}")


def add_images(
    root: Path, new: Path, *, split_by_group: bool, seed: int, allow_shared_groups: bool = False
) -> Addition:
    """Add the items of one data set to another.

    Parameters
    ----------
    root : Path
        Data set with a manifest.csv.
    new : Path
        Another one, of any form that `read_dataset` reads; its splits do not count.
    split_by_group : bool
        Place new groups by a hash of their name, 60 : 20 : 20; else they go to train.
    seed : int
        Of that hash.
    allow_shared_groups : bool
        As of `check_dataset`.

    Raises
    ------
    InputError
        If there is no manifest, an id or a file name is taken by another image, or the whole would
        not pass the check. The data set is as it was then.
    """
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise InputError(f"{root} has no manifest.csv to add to; write one, see docs/data.md")
    if "split" not in manifest.read_text(encoding="utf-8-sig").partition("\n")[0].split(","):
        raise InputError(f"{manifest} has no column split, so each run would split anew; add one")
    old = read_dataset(root)
    incoming = read_dataset(new, rng=np.random.default_rng(0))
    fresh = [item for item in incoming.items if not _is_known(item, old)]
    sides = {item.group: item.split for item in old.items}
    placed = [
        replace(item, split=sides.get(item.group) or _side(item.group, seed, split_by_group))
        for item in fresh
    ]
    columns = [name for name, _ in old.items[0].columns]
    targets = [_target(item, root, columns) for item in placed]
    copied: list[Path] = []
    try:
        for source, target in zip(placed, targets, strict=True):
            copied += _copy(source.image, target.image)
            copied += _copy(source.mask, target.mask)
        whole = Dataset(old.name, root, (*old.items, *targets), old.class_names)
        check_dataset(whole, allow_shared_groups=allow_shared_groups)
    except BaseException:  # Ctrl-C too: the data set stays as it was
        for path in copied:
            path.unlink()
        raise
    if targets:
        _write_manifest(manifest, targets, root)
    return Addition(tuple(targets), len(incoming.items) - len(fresh))


def _is_known(item: Item, old: Dataset) -> bool:
    """Whether this very image is there under this id; another one of the same id is an error."""
    same = [known for known in old.items if known.id == item.id]
    if not same:
        return False
    if sha256_file(same[0].image) != sha256_file(item.image):
        raise InputError(
            f"id {item.id} is taken by another image of {old.name}; rename the new one"
        )
    return True


def _side(group: str, seed: int, split_by_group: bool) -> Split:
    """Place a group by a hash, so that neither order nor company of the images matters."""
    if not split_by_group:
        return "train"
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return next(split for split, upper in _SHARES if share < upper)


def _target(item: Item, root: Path, columns: list[str]) -> Item:
    """Say where the files of an item come to lie, and give it the columns of the manifest."""
    values = dict(item.columns)
    return replace(
        item,
        columns=tuple((name, values.get(name, "")) for name in columns),
        image=root / "images" / f"{item.id}{item.image.suffix}",
        mask=root / "masks" / f"{item.id}{item.mask.suffix}",
    )


def _copy(source: Path, target: Path) -> list[Path]:
    """Copy a file; one that is there with the same bytes is left by a call that was killed."""
    if target.exists():
        if not source.is_file() or sha256_file(target) != sha256_file(source):
            raise InputError(f"{target} exists and is another file; rename the new image")
        return []
    if not source.is_file():
        raise InputError(f"{source} is a folder; add images as single files")
    with atomic_path(target) as part:
        shutil.copyfile(source, part)
    return [target]


def _write_manifest(path: Path, items: list[Item], root: Path) -> None:
    """Add rows; columns that are not known of a new image stay empty."""
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle)
        rows, columns = list(reader), list(reader.fieldnames or ())
    known = set(columns) & {"pixel_size_um", "voxel_um_zyx"}
    sized = next(iter(sorted(known)), "pixel_size_um")
    if not known and any(item.pixel_size_um for item in items):
        columns.append(sized)
    for item in items:
        rows.append(dict.fromkeys(columns, "") | _row(item, root, columns, sized))
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)


def _row(item: Item, root: Path, columns: list[str], sized: str) -> dict[str, str]:
    row = {
        "id": item.id,
        "image": item.image.relative_to(root).as_posix(),
        "mask": item.mask.relative_to(root).as_posix(),
        "group": item.group,
        "split": item.split,
    }
    if item.pixel_size_um is not None:
        row[sized] = " ".join(f"{value:g}" for value in item.pixel_size_um)
    return row | {name: value for name, value in item.columns if name in columns}
