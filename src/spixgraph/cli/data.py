"""`spixgraph data`: check data sets, make synthetic ones."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spixgraph.arrays import PixelSizeUm, ShapeZYX
from spixgraph.cli.data_add import add
from spixgraph.errors import InputError
from spixgraph.files import canonical_json
from spixgraph.io.dataset import SPLITS, DatasetReport, load_dataset
from spixgraph.io.phantoms import (
    PHANTOM_CLASSES,
    PHANTOM_KINDS,
    PhantomKind,
    write_phantom_dataset,
)


@click.group()
def data() -> None:
    """Check data sets, add to them, make synthetic ones.

    A data set is a folder with manifest.csv (columns id, image, mask, group, split and, if known,
    pixel_size_um), or with two folders images/ and masks/ whose files are paired by name.
    """


data.add_command(add)


@data.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Keep the rows of the manifest that have this value; may be repeated.",
)
@click.option(
    "--classes",
    metavar="A,B,...",
    default="",
    help="Names of class 0, 1, ...; other ids in a mask are then refused.",
)
@click.option(
    "--allow-shared-groups", is_flag=True, help="Accept a group in several splits, with a warning."
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    help="Splits the groups where the manifest has no column split.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")  # fmt: skip
def check(
    dataset: Path,
    where: tuple[str, ...],
    classes: str,
    allow_shared_groups: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Open every image and mask of DATASET and name all that is wrong with them.

    \b
    Example:
      spixgraph data phantom phantom --kind colonies
      spixgraph data check phantom --classes background,colony

    Nothing is changed. The exit status is 0 if the data set is sound, else 1. 255 in a mask means
    "not annotated".
    """
    _, report = load_dataset(
        dataset,
        where=_conditions(where),
        class_names=[name.strip() for name in classes.split(",") if name.strip()],
        rng=np.random.default_rng(seed),
        allow_shared_groups=allow_shared_groups,
    )
    if as_json:
        click.echo(canonical_json(report.as_json()), nl=False)
    else:
        _print(report)


def _conditions(where: Sequence[str]) -> dict[str, str]:
    """Read column=value."""
    conditions: dict[str, str] = {}
    for text in where:
        column, equals, value = text.partition("=")
        if not equals or not column or column in conditions:
            raise InputError(f"--where {text!r} must be COLUMN=VALUE, each column once")
        conditions[column] = value
    return conditions


def _print(report: DatasetReport) -> None:
    """Print tables of classes and splits, then the warnings."""
    console = Console()
    click.echo(
        f"{report.name}: {len(report.rows)} images, {report.n_dims}D, {report.n_channels} "
        f"channel(s), {report.megapixels:.2f} megapixels; pixel size {_pixel_sizes(report)}"
    )
    _print_rows(console, ("split", "images", "groups", "megapixels"), _split_rows(report))
    _print_rows(console, ("id", "class", "pixels", "fraction"), _class_rows(report))
    for warning in report.warnings:
        click.secho(f"warning: {warning}", fg="yellow")
    click.echo(f"sha256 {report.sha256}")


def _print_rows(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print one table."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)


def _split_rows(report: DatasetReport) -> list[list[str]]:
    rows = []
    for split in SPLITS:
        found = [row for row in report.rows if row.split == split]
        n_groups = len({row.group for row in found})
        size = sum(row.megapixels for row in found)
        rows.append([split, str(len(found)), str(n_groups), f"{size:.2f}"])
    return rows


def _class_rows(report: DatasetReport) -> list[list[str]]:
    total = sum(report.class_pixels)
    rows = [
        [str(k), name, f"{n:,}", f"{n / total:.4f}"]
        for k, (name, n) in enumerate(zip(report.class_names, report.class_pixels, strict=True))
    ]
    blank = sum(row.n_not_annotated for row in report.rows)
    return [*rows, ["255", "not annotated", f"{blank:,}", ""]] if blank else rows


def _pixel_sizes(report: DatasetReport) -> str:
    """Say the in-plane range in um, and of how many images it is not known."""
    known: list[PixelSizeUm] = [row.pixel_size_um for row in report.rows if row.pixel_size_um]
    if not known:
        return "unknown"
    low, high = min(size[1] for size in known), max(size[1] for size in known)
    text = f"{low:g} um" if low == high else f"{low:g}..{high:g} um"
    return text if len(known) == len(report.rows) else f"{text} (known of {len(known)})"


@data.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    type=click.Choice(PHANTOM_KINDS),
    default="colonies",
    show_default=True,
    help="Phase contrast, confocal stack, or layered material.",
)
@click.option(
    "--size",
    default="",
    metavar="YxX|ZxYxX",
    help="Pixels of each image.  [default: 512x512, nuclei3d 32x128x128]",
)
@click.option("--images", default=12, show_default=True, help="Number of images, at least 3.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other images.")
def phantom(out: Path, kind: str, size: str, images: int, seed: int) -> None:
    """Write a synthetic data set with exact masks to the new folder OUT.

    \b
    Examples:
      spixgraph data phantom phantom --kind colonies --size 1024x1024 --images 6
      spixgraph data phantom stack --kind nuclei3d --size 64x512x512 --images 3
      spixgraph data phantom giant --kind layers --size 32768x32768 --images 3

    Images are written tile by tile, so they may be larger than the memory.
    """
    default = (32, 128, 128) if kind == "nuclei3d" else (1, 512, 512)
    shape = _shape(size) if size else default
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"{images} x {kind}", total=2 * images * math.prod(shape))
        write_phantom_dataset(
            out,
            kind=cast("PhantomKind", kind),
            n_images=images,
            shape_zyx=shape,
            seed=seed,
            on_pixels=lambda n: progress.advance(task, n),
        )
    names = ",".join(PHANTOM_CLASSES[cast("PhantomKind", kind)])
    click.echo(f"wrote {out}; try: spixgraph data check {out} --classes {shlex.quote(names)}")


def _shape(size: str) -> ShapeZYX:
    """Read YxX or ZxYxX."""
    parts = size.lower().split("x")
    if len(parts) not in (2, 3) or not all(part.isascii() and part.isdigit() for part in parts):
        raise InputError(f"--size {size!r} must be YxX or ZxYxX, such as 1024x1024 or 64x512x512")
    z, y, x = [1, *map(int, parts)][-3:]
    return z, y, x
