"""`spixgraph segment`: an image and a model bundle in, a mask out."""

import logging
import os
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from spixgraph.arrays import MaskZYX, PixelSizeUm
from spixgraph.errors import InputError
from spixgraph.files import canonical_json
from spixgraph.io.images import ImageInfo, open_image
from spixgraph.predict.bundle import Bundle, bundle_sha256, load_bundle
from spixgraph.predict.card import Card
from spixgraph.predict.driver import (
    Segmentation,
    class_probabilities,
    open_model,
    require_fit,
    segment_source,
)
from spixgraph.predict.memory import require_memory
from spixgraph.predict.outputs import (
    MASK_SUFFIXES,
    PROBABILITY_SUFFIXES,
    write_card_mask,
    write_probabilities,
)
from spixgraph.predict.steps import Steps

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("image", type=_FILE)
@click.argument("out", type=_FILE)
@click.option("--model", required=True, type=_FILE, help="Folder of a model bundle.")
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--axes", help="Axes of the file, such as ZCYX, where it does not say.")
@click.option(
    "--pixel-size-um",
    type=(float, float, float),
    metavar="Z Y X",
    help="Pixel size in micrometres, where the file does not say.",
)
@click.option("--probabilities", type=_FILE, help="Also write class probabilities, a .tif.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def segment(
    image: Path,
    out: Path,
    model: Path,
    device: Any,
    axes: str | None,
    pixel_size_um: PixelSizeUm | None,
    probabilities: Path | None,
    as_json: bool,
) -> None:
    """Segment IMAGE with a model bundle and write the mask to OUT.

    OUT is a .png, .tif or .zarr; class ids are those of the bundle's card.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    _require_writable(out, MASK_SUFFIXES)
    if probabilities is not None:
        _require_writable(probabilities, PROBABILITY_SUFFIXES)
    _require_distinct(image, out, probabilities)
    bundle = load_bundle(model)
    with open_image(image, axes=axes, pixel_size_um=pixel_size_um) as source:
        _require_out_fits(out, source.info)
        require_fit(source.info, bundle.card)
        require_memory(source.info.shape_zyxc, bundle.card.memory)
        network = open_model(bundle, device=device)
        with Console(stderr=True).status("opening the model") as status:
            steps = Steps(lambda name: status.update(f"{image.name}: {name}"))
            found = segment_source(source, network, steps=steps)
            with steps("write"):
                write_card_mask(out, found.mask, bundle.card, source.info.pixel_size_um)
                if probabilities is not None:
                    shares = class_probabilities(found.logits)
                    write_probabilities(probabilities, found.labels, shares, bundle.card)
        summary = _summary(found, bundle, source.info)
    if as_json:
        click.echo(canonical_json(summary), nl=False)
    else:
        _print_summary(summary, out)


def _require_writable(path: Path, suffixes: tuple[str, ...]) -> None:
    """Fail before the work, not after it."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path} must end in one of {', '.join(suffixes)}")
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"the folder {folder} of {path.name} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"the folder {folder} of {path.name} is not writable")


def _require_distinct(*paths: Path | None) -> None:
    """Keep a slip of the finger from replacing the image by its mask."""
    given = [path for path in paths if path is not None]
    if len({path.resolve() for path in given}) < len(given):
        raise InputError(f"{', '.join(map(str, given))} must be different files")


def _require_out_fits(out: Path, info: ImageInfo) -> None:
    if out.suffix.lower() == ".png" and info.n_dims == 3:
        raise InputError(f"{out} cannot hold {info.shape_zyxc[0]} slices; write .tif or .zarr")


def _summary(found: Segmentation, bundle: Bundle, info: ImageInfo) -> dict[str, Any]:
    return {
        "model": {"name": bundle.card.name, "sha256": bundle_sha256(bundle.path)},
        "shape_zyx": list(found.mask.shape),
        "n_regions": len(found.logits),
        "classes": _areas(found.mask, bundle.card, info.pixel_size_um),
        "seconds": found.seconds,
    }


def _areas(mask: MaskZYX, card: Card, size: PixelSizeUm | None) -> list[dict[str, Any]]:
    """Pixels of each class, and their area (volume in 3D) where the pixel size is known."""
    pixels = np.bincount(mask.reshape(-1), minlength=256)
    unit = "um2" if mask.shape[0] == 1 else "um3"
    one = None if size is None else float(np.prod(size[1:] if unit == "um2" else size))
    return [
        {
            "id": c.id,
            "name": c.name,
            "pixels": int(pixels[c.id]),
            "fraction": float(pixels[c.id] / mask.size),
            **({} if one is None else {unit: float(pixels[c.id] * one)}),
        }
        for c in card.classes
    ]


def _print_summary(summary: dict[str, Any], out: Path) -> None:
    classes = summary["classes"]
    units = [unit for unit in ("um2", "um3") if unit in classes[0]]
    table = Table("class", "pixels", "share", *({"um2": "µm²", "um3": "µm³"}[u] for u in units))
    for row in classes:
        area = [f"{row[unit]:,.1f}" for unit in units]
        table.add_row(row["name"], f"{row['pixels']:,}", f"{row['fraction']:.1%}", *area)
    Console().print(table)
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in summary["seconds"].items())
    click.echo(f"{out}: {summary['n_regions']:,} superpixels; {seconds}")
